"""Passwords and tokens of addresses stay out of text, and everything else stays in it."""

from __future__ import annotations

import time

import pytest

from perception.system.redaction import redacted, redacted_line, redacted_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp:/ann:secret@10.0.0.7/road", "rtsp:/ann:***@10.0.0.7/road"),
        ("ann:secret@10.0.0.7/road", "ann:***@10.0.0.7/road"),
        ("rtsp://ann:sec ret@10.0.0.7/road", "rtsp://ann:***@10.0.0.7/road"),
        ("rtsp://ann:sec\nret@10.0.0.7/road", "rtsp://ann:***@10.0.0.7/road"),
        ("rtsp://ann:se?c#ret@10.0.0.7/road", "rtsp://ann:***"),
        ("rtsp://ann:secret@[fe80::1]:554/road", "rtsp://ann:***@[fe80::1]:554/road"),
        ("https://ghp_secret0123456789@10.0.0.7/road", "https://***@10.0.0.7/road"),
        ("http://10.0.0.7/road?a=1&X-Signature=secret#b", "http://10.0.0.7/road?a=1&X-Signature=***"),
        ("http://10.0.0.7/road?password=S3cr/3tX&a=1", "http://10.0.0.7/road?password=***&a=1"),
        ("http://10.0.0.7:80/road?password=S3cr@3tX", "http://10.0.0.7:***"),
        ("http://10.0.0.7/road?token=it's;secret", "http://10.0.0.7/road?token=***"),
        ("http://10.0.0.7/road?tok=secret", "http://10.0.0.7/road?tok=***"),
        ("http://10.0.0.7/road?%70assword=secret", "http://10.0.0.7/road?%70assword=***"),
        ("http://10.0.0.7/road?u=ann&p=secret", "http://10.0.0.7/road?u=ann&p=***"),
        ("http://10.0.0.7/road?0123456789abcdef", "http://10.0.0.7/road?***"),
        ("http://10.0.0.7/road?view=1#access_token=secret", "http://10.0.0.7/road?view=1#***"),
        ("http://10.0.0.7/road#access_token=secret", "http://10.0.0.7/road#access_token=***"),
        ("http://10.0.0.7/road;pw=secret", "http://10.0.0.7/road;pw=***"),
        (
            "rtsp://10.0.0.7/user=ann&password=secret&channel=1",
            "rtsp://10.0.0.7/user=ann&password=***&channel=1",
        ),
        ("rtsp://10.0.0.7/user=ann_password=secret_channel=1.sdp", "rtsp://10.0.0.7/user=ann_password=***"),
    ],
)
def test_password_is_masked_wherever_people_put_it(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://[fe80::1]:554/road",
        "rtsp://ann@10.0.0.7/road",
        "camera /dev/video0, 12:30, mail to ann@example.org",
        "C:/drives/a@b.mp4",
        "trip/*.jpg",
        "synthetic:night",
    ],
)
def test_text_without_a_password_is_left_alone(text: str) -> None:
    assert redacted(text) == text


def test_every_line_and_every_address_in_a_text_is_masked() -> None:
    text = (
        "one rtsp://ann:secret@a/x and\ntwo rtsp://bob:secret@b/y or {'url': 'http://:secret@c/?key=secret'}"
    )

    shown = redacted(text)

    assert "secret" not in shown
    assert shown.count("\n") == 1
    assert shown.startswith("one rtsp://ann:***@a/x and\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x07\x7f\x9b", "\\x1b[2J\\x07\\x7f\\x9b"),
        ("a\u202eb\u2066c\u200b\ufeff", "a\\u202eb\\u2066c\\u200b\\ufeff"),
        ("a\u2028b\x85c\rd", "a\\u2028b\\x85c\\rd"),
        (b"bad \xff name".decode(errors="surrogateescape"), "bad \\udcff name"),
        ("Straße 東京 🚗\tok\n", "Straße 東京 🚗\tok\n"),
    ],
)
def test_control_characters_are_escaped_and_all_else_is_left(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_what_is_to_be_one_line_is_one_line() -> None:
    assert redacted_line("a.mp4\ndrivable-node: all is well\tx") == r"a.mp4\ndrivable-node: all is well\tx"


@pytest.mark.parametrize(
    "unit", ["a", "a:", "@a:", ":/", "a:/", "/_key", "=", "a=", "?pass", "@", "a://a:", "a.-+"]
)
@pytest.mark.parametrize("end", ["", "@", "="])
def test_long_text_takes_no_longer_than_its_length(unit: str, end: str) -> None:
    started_s = time.process_time()

    redacted(100_000 // len(unit) * unit + end)

    assert time.process_time() - started_s < 1.0
