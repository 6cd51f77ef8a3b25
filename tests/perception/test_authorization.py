"""Passwords as servers ask for them, by the examples of the standards and by what cameras make of those."""

from __future__ import annotations

import hashlib
import re

import pytest

from perception.sources.network.authorization import Challenge, answer, best_of, challenges_of
from perception.sources.source import SourceError


def fields(header: str) -> dict[str, str]:
    scheme, _, rest = header.partition(" ")
    assert scheme == "Digest"
    return {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^,]*))', rest)}


def test_the_example_of_rfc_2069_is_answered_as_it_stands_there() -> None:
    asked = challenges_of(
        ['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc0694"']
    )

    parameters = fields(answer(asked[0], "Mufasa", "CircleOfLife", "GET", "/dir/index.html"))

    assert parameters["response"] == "1949323746fe6a43ef61f9606e7febea"
    assert parameters["opaque"] == "5ccc0694"
    assert "qop" not in parameters


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616_are_answered_as_they_stand_there(
    algorithm: str, response: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"

    class Random(bytes):
        def hex(self, *_: object) -> str:  # type: ignore[override]
            return client

    monkeypatch.setattr("perception.sources.network.authorization.os.urandom", lambda _: Random())
    asked = challenges_of(
        [
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
            'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
            'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtz"'
        ]
    )

    parameters = fields(answer(best_of(asked), "Mufasa", "Circle of Life", "GET", "/dir/index.html"))

    assert parameters["response"] == response
    assert (parameters["qop"], parameters["nc"], parameters["cnonce"]) == ("auth", "00000001", client)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_sessions_and_bodies_are_counted_in_as_the_standard_has_it() -> None:
    asked = challenges_of(["digest REALM=cam,nonce=5,qop=auth-int,algorithm=md5-sess"])

    parameters = fields(answer(best_of(asked), "ann", "hunter2", "DESCRIBE", "rtsp://cam/road"))

    secret = md5(f"{md5('ann:cam:hunter2')}:5:{parameters['cnonce']}")
    request = md5(f"DESCRIBE:rtsp://cam/road:{md5('')}")
    assert parameters["response"] == md5(f"{secret}:5:00000001:{parameters['cnonce']}:auth-int:{request}")


@pytest.mark.parametrize(
    ("headers", "best"),
    [
        (['Basic realm="a"', 'Digest realm="a", nonce="1"'], "Digest MD5"),
        (['Basic realm="a, Digest b", Digest realm="a", nonce="1"'], "Digest MD5"),
        (['Digest realm="a", nonce="1"', 'Digest realm="a", nonce="2", algorithm=SHA-256'], "Digest SHA-256"),
        (['Digest realm="a", nonce="1", algorithm=SHA-1', 'Basic realm="a"'], "Basic"),
        (['Digest realm="a", nonce="1", qop="token"', "NTLM", "Negotiate", "basic"], "basic"),
        (['Bearer error="x", Basic realm=""'], "Basic"),
        (['Digest realm=, nonce="", stale=TRUE'], "Digest MD5"),
    ],
)
def test_the_strongest_way_that_is_known_is_taken(headers: list[str], best: str) -> None:
    assert str(best_of(challenges_of(headers))) == best


def test_a_way_that_is_not_known_is_named() -> None:
    with pytest.raises(
        SourceError, match="asks for a password by NTLM or Digest SHA-1; Digest and Basic are"
    ):
        best_of(challenges_of(["NTLM", 'Digest realm="a", nonce="1", algorithm=SHA-1']))


def test_quotes_and_line_ends_of_a_server_make_no_headers_of_their_own() -> None:
    asked = Challenge("Digest", {"realm": 'a"b\r\nX: 1', "nonce": "5"})

    header = answer(asked, "ann", "hunter2", "GET", "/")

    assert r'realm="a\"bX: 1"' in header
    assert "\n" not in header
