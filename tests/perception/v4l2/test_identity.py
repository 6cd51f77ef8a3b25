from __future__ import annotations

from pathlib import Path

import pytest

from perception.sources.v4l2.identity import Identity, find_again, identify

BY_ID, BY_PATH = "dev/v4l/by-id/usb-Maker_Road_0042-video-index0", "dev/v4l/by-path/pci-usb-0:1:1.0-index0"


class Machine:
    """Devices in a folder: /dev, /sys, and udev's links."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def plug_in(self, number: int, port: str, *links: str, name: str = "Road", index: int = 0) -> None:
        entry, hardware = self.root / f"sys/class/video4linux/video{number}", self.root / "sys/devices" / port
        for folder in (entry, hardware, self.root / "dev"):
            folder.mkdir(parents=True, exist_ok=True)
        (entry / "device").symlink_to(hardware)
        (entry / "name").write_text(f"{name}\n")
        (entry / "index").write_text(f"{index}\n")
        (self.root / f"dev/video{number}").touch()
        for link in links:
            (self.root / link).parent.mkdir(parents=True, exist_ok=True)
            (self.root / link).symlink_to(self.root / f"dev/video{number}")

    def pull_out(self, number: int) -> None:
        for link in self.root.glob("dev/v4l/*/*"):
            if link.resolve().name == f"video{number}":
                link.unlink()
        entry = self.root / f"sys/class/video4linux/video{number}"
        for file in (*entry.iterdir(), self.root / f"dev/video{number}"):
            file.unlink()
        entry.rmdir()

    def identify(self, node: str) -> Identity:
        identity = identify(node, self.root)
        assert identity is not None
        return identity

    def find_again(self, identity: Identity) -> str | None:
        found = find_again(identity, self.root)
        return None if found is None else f"/{Path(found).relative_to(self.root)}"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_camera_is_known_by_its_serial_before_its_port(machine: Machine) -> None:
    machine.plug_in(0, "1-1", BY_PATH, BY_ID)

    identity = machine.identify("/dev/video0")

    assert identity.link == BY_ID
    assert str(identity) == "usb-Maker_Road_0042-video-index0"


@pytest.mark.parametrize("links", [(), (BY_PATH,), (BY_ID,)], ids=["no udev", "by-path", "by-id"])
def test_a_camera_is_found_under_another_number(machine: Machine, links: tuple[str, ...]) -> None:
    machine.plug_in(0, "1-1", *links)
    identity = machine.identify("/dev/video0")

    machine.pull_out(0)
    machine.plug_in(0, "1-2", name="Cabin")
    while_away = machine.find_again(identity)
    machine.plug_in(3, "1-1", *links)

    assert (while_away, machine.find_again(identity)) == (None, "/dev/video3")


def test_a_camera_with_a_serial_is_found_at_another_port(machine: Machine) -> None:
    machine.plug_in(0, "1-1", BY_ID)
    identity = machine.identify("/dev/video0")

    machine.pull_out(0)
    machine.plug_in(1, "2-4", BY_ID)

    assert machine.find_again(identity) == "/dev/video1"


def test_another_camera_at_the_same_port_and_the_metadata_node_are_not_taken_for_it(machine: Machine) -> None:
    machine.plug_in(0, "1-1")
    identity = machine.identify("/dev/video0")

    machine.pull_out(0)
    machine.plug_in(0, "1-1", name="Thermal")
    machine.plug_in(1, "1-1", index=1)

    assert machine.find_again(identity) is None


def test_a_link_asked_for_by_name_is_kept_to(machine: Machine) -> None:
    machine.plug_in(0, "1-1", BY_ID, BY_PATH)

    assert machine.identify(f"/{BY_PATH}").link == BY_PATH


def test_without_information_of_the_system_there_is_no_identity(machine: Machine) -> None:
    (machine.root / "dev").mkdir()
    (machine.root / "dev/video0").touch()

    assert identify("/dev/video0", machine.root) is None
    assert identify("/dev/video1", machine.root) is None
