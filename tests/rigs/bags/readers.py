"""Programs of others that read bags: Rerun, Foxglove's packages, rclpy, rosbags, and mcap for torn files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import mcap
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader
from packages import RigError
from ros_nodes import ROS, sourced
from rosbags.highlevel import AnyReader

HERE: Final = Path(__file__).parent
RERUN: Final = Path(sys.prefix).with_name(".venv-rerun")
NPM: Final = Path(sys.prefix).with_name(".npm-bags")
NPM_PACKAGES: Final = (
    *("@mcap/core@2.2.2", "@mcap/support@1.1.0"),
    *("@foxglove/rosmsg@5.0.5", "@foxglove/rosmsg2-serialization@3.1.0"),
)


def provide_npm(may_install: bool) -> None:
    """See that Foxglove's packages are there; raises RigError."""
    if (NPM / "node_modules" / "@foxglove").is_dir():
        return
    command = ["npm", "install", "--ignore-scripts", "--no-fund", "--prefix", str(NPM), *NPM_PACKAGES]
    if not may_install:
        raise RigError(f"not all there; install it with: {' '.join(command)}")
    NPM.mkdir(exist_ok=True)
    if subprocess.run(command, stdout=sys.stderr).returncode:
        raise RigError("npm could not install Foxglove's packages")


def rerun(bag: Path) -> tuple[bool, Counter[str]]:
    """Whether `rerun mcap check` is content with every channel, and those that it is, each once."""
    said = subprocess.run(
        [RERUN / "bin" / "rerun", "mcap", "check", bag],
        env=os.environ | {"RERUN_ANALYTICS": "false"},
        capture_output=True,
        text=True,
    )
    rows = re.findall(r"^(\w+) +\d+ +\d+ +(/\S+) +(.+?) *$", said.stdout, re.MULTILINE)
    content = [topic for status, topic, issues in rows if (status, issues) == ("ok", "—")]
    return said.returncode == 0 and 0 < len(rows) == len(content), Counter(content)


def foxglove(bag: Path) -> Counter[str]:
    """Messages by topic, decoded by Foxglove's packages."""
    environment = os.environ | {"NODE_PATH": str(NPM / "node_modules")}
    command = ["node", HERE / "count.cjs", bag]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return Counter(json.loads(said))


def rclpy(bag: Path) -> tuple[Counter[str], int]:
    """Messages of installed types by topic, and how many another round through rclpy changes."""
    package = str(Path(mcap.__file__).parents[1])
    command = [ROS / "bin" / "python", HERE / "decode_by_rclpy.py", bag, package]
    said = subprocess.run(command, env=sourced(1), capture_output=True, text=True, check=True).stdout
    found = json.loads(said)
    return Counter(found["decoded"]), int(found["differing"])


def rosbags(bag: Path) -> Counter[str]:
    """Messages by topic, decoded by rosbags."""
    found: Counter[str] = Counter()
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
            found[connection.topic] += 1
    return found


def torn(bag: Path) -> Counter[str]:
    """Messages by topic in a file without its end."""
    found: Counter[str] = Counter()
    with bag.open("rb") as stream, suppress(EndOfFile):
        for _, channel, _ in NonSeekingReader(stream).iter_messages(log_time_order=False):
            found[channel.topic] += 1
    return found
