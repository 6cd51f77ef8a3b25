"""What people type for a source: recognised by what it is, or refused with what is wrong with it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from perception.cli_config import SettingsError
from perception.sources import SourceSettings, build_source
from perception.sources.network.address import Address
from perception.sources.registry import Spec
from perception.sources.source import SourceError
from perception.sources.video import VideoSource
from perception.system.redaction import redacted


@pytest.mark.parametrize(
    ("typed", "kind", "text"),
    [
        (" rtsp://10.0.0.7/road\n", "stream", "rtsp://10.0.0.7/road"),
        ("HTTPS://Cam.example/road ", "stream", "HTTPS://Cam.example/road"),
        ("rtsp://[fe80::1%25eth0]:8554/road", "stream", "rtsp://[fe80::1%25eth0]:8554/road"),
        ("rtsp://ann:p@ss:word@cam/road", "stream", "rtsp://ann:p@ss:word@cam/road"),
        ("rtsp://cam:/road", "stream", "rtsp://cam:/road"),
        ("http://cam/live/ann@example.org", "stream", "http://cam/live/ann@example.org"),
        (" 0 ", "camera", "0"),
        ("/dev/video99", "camera", "/dev/video99"),
    ],
)
def test_addresses_and_cameras_are_taken_as_they_are_meant(typed: str, kind: str, text: str) -> None:
    assert Spec.of(typed) == (kind, text)


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("rtsp://admin:p@ss:w/#1@127.0.0.1:8554/road", "written %2F %3F %23 %40"),
        ("rtsp://admin:p#1@127.0.0.1:8554/road", "written %2F %3F %23 %40"),
        ("http://admin:p?1@127.0.0.1/road", "written %2F %3F %23 %40"),
        ("rtsp://admin:[1]@127.0.0.1/road", "brackets %5B %5D"),
        ("rtsp://::1:8554/road", "an IPv6 address needs brackets"),
        ("rtsp://fe80::1%eth0/road", "an IPv6 address needs brackets"),
        ("rtsp://[::1/road", "no IPv6 address between the brackets"),
        ("rtsp://[cam]/road", "no IPv6 address between the brackets"),
        ("rtsp:///road", "no host in the address"),
        ("rtsp://ann:secret@/road", "no host in the address"),
        ("rtsp://cam:99999/road", "its port is not in the range 1 to 65535"),
        ("rtsp://cam:0/road", "its port is not in the range 1 to 65535"),
        ("rtsp://cam:live/road", "the port after the host is not a number"),
        ("rtsp://cam:³/road", "the port after the host is not a number"),
        ("http://my cam/road", "the host name holds blanks"),
        ("rtsp:/10.0.0.7/road", "an address begins with rtsp://"),
        ("RTSP:10.0.0.7/road", "an address begins with rtsp://"),
        ("rstp://10.0.0.7/road", "rstp:// is not supported; did you mean rtsp://?"),
        ("htpp://10.0.0.7/road", "htpp:// is not supported; did you mean http://?"),
        ("rtmp://10.0.0.7/live", "rtmp:// is not supported; a source is"),
        ("srt://10.0.0.7:9000", "srt:// is not supported; a source is"),
        ("udp://239.0.0.1:1234", "udp:// is not supported; a source is"),
        ("ftp://ann:secret@cam/a.mp4", "ftp:// is not supported; a source is"),
        ("10.0.0.7:554/road", "an address begins with rtsp:// or http://"),
        ("ann:secret@cam/road", "an address begins with rtsp:// or http://"),
        ("localhost:8554/road", "an address begins with rtsp:// or http://"),
        ("C:\\Users\\ann\\drive.mp4", "names are separated by /"),
        ("\\\\nas\\drive.mp4", "names are separated by /"),
        ("$HOME/drive.mp4", "$HOME is not replaced here"),
        ("%USERPROFILE%/drive.mp4", "%USERPROFILE% is not replaced here"),
        ("~/no-such-drive.mp4", "no such file or folder"),
        ("file://nas/drive.mp4", "is on the machine nas"),
        ("file:///no/such/drive.mp4", "no such file or folder"),
        ("x" * 5000, "no such file or folder"),
        ("a\0b", "no such file or folder"),
        (" ", "no source is given"),
        ("'rtsp://cam/road'", "the quotes around it are part of it"),
    ],
)
def test_what_is_none_is_one_line_that_says_why(typed: str, problem: str) -> None:
    with pytest.raises(SourceError) as caught:
        Spec.of(typed)

    message = redacted(str(caught.value))
    assert problem in message
    assert "\n" not in message
    assert "secret" not in message
    assert "p@ss" not in message


def test_file_addresses_are_names_of_files(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clip = make_clip("a b%20c.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    typed = [
        f"file://{clip}",
        clip.as_uri(),
        clip.as_uri().replace("file://", "FILE://localhost"),
        clip.as_uri().replace("file://", "file:"),
        f"file:{clip.name}",
        f"file://{clip.name}",
        f"~/{clip.name}",
        f"file://~/{clip.name}",
    ]

    specs = [Spec.of(text) for text in typed]

    assert [kind for kind, _ in specs] == ["video"] * len(typed)
    assert all(os.path.samefile(name, clip) for _, name in specs)
    source = build_source(typed[1])
    assert isinstance(source, VideoSource)
    assert source.open().source_id == clip.name
    source.close()


def test_a_name_with_blanks_around_it_is_the_file_of_that_name(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_clip(" clip.mp4")
    monkeypatch.chdir(tmp_path)

    assert Spec.of(" clip.mp4").text == " clip.mp4"


def test_entries_that_are_neither_file_nor_folder_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("listener")
    Path("lost").symlink_to("nowhere.mp4")
    os.mkfifo("pipe")

    for name, problem in (
        ("listener", "is a socket"),
        ("lost", "is a link to 'nowhere.mp4', which does not exist"),
        (os.ttyname(os.openpty()[1]), "no video comes through it"),
    ):
        with pytest.raises(SourceError, match=problem):
            Spec.of(name)
    with pytest.raises(SettingsError, match="which gives everything once; leave --loop out"):
        build_source("pipe", SourceSettings(loop=True))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (
            "a.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
            "(SDP), which is not supported",
        ),
        ("a.mp4", "<!DOCTYPE html><html>not found</html>", "is a web page"),
        ("a.mp4", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer"),
        ("a.yuv", "0123456789", "raw pixels without a size and a format; put them into a container"),
        ("a.mp4", "PK\x03\x04 and so on", "is an archive"),
        ("a.mp4", "", "is empty"),
        ("a.mp4", "hello", "is not a readable video file"),
    ],
)
def test_files_that_are_no_video_are_reported_by_what_they_are(
    name: str, content: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(SourceError) as caught:
        build_source(str(tmp_path / name)).open()

    assert problem in str(caught.value)


def test_what_nearly_is_there_is_named(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = make_clip("drive.mp4")

    with pytest.raises(SourceError, match=r"no such file or folder; did you mean .*/drive\.mp4\?"):
        Spec.of(str(clip.with_name("drvie.mp4")))
    with pytest.raises(
        SourceError, match=r"contains no image .*; videos are given one at a time: .*/drive\.mp4$"
    ):
        build_source(str(tmp_path)).open()
    with pytest.raises(
        SourceError, match=r"matches no image .*; videos are given one at a time: .*/drive\.mp4$"
    ):
        build_source(f"{tmp_path}/*.mp4").open()


def test_addresses_are_escaped_as_browsers_escape_them() -> None:
    address = Address.of("http://ann:p w@käm.local/a b/ü?x=é")

    assert address.bare_url == "http://xn--km-via.local/a%20b/%C3%BC?x=%C3%A9"
    assert address.full_url == "http://ann:p%20w@xn--km-via.local/a%20b/%C3%BC?x=%C3%A9"
    assert (address.user, address.password) == ("ann", "p w")
