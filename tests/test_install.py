"""What a user gets who installs the wheel."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from perception import __version__

REPOSITORY = Path(__file__).parent.parent

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from {module} import main
sys.exit(main({arguments!r}))
"""


@pytest.mark.parametrize(
    ("command", "arguments", "blocked"),
    [
        ("train", ["--config", "train/rt_m"], "torch"),
        ("export", ["--model", "rt_m"], "torch"),
        ("export", ["--model", "rt_m"], "onnx"),
    ],
)
def test_command_without_its_extra_says_what_to_install(
    command: str, arguments: list[str], blocked: str
) -> None:
    code = BLOCK.format(blocked={blocked}, module=f"{command}.cli", arguments=arguments)

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False
    )

    assert done.returncode == 1
    wanted = f"drivable-{command}: {blocked} is not installed; pip install 'drivable[{command}]'"
    assert done.stderr.splitlines() == [wanted]


def test_metadata_names_the_licences_of_code_and_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchling.build import prepare_metadata_for_build_wheel

    monkeypatch.chdir(REPOSITORY)
    folder = tmp_path / prepare_metadata_for_build_wheel(str(tmp_path))

    metadata = email.message_from_string((folder / "METADATA").read_text())
    assert metadata["License-Expression"] == "Apache-2.0 AND LicenseRef-BDD100K"
    assert metadata.get_all("License-File") == ["LICENSE", "perception/models/LICENSE.md"]


@pytest.mark.slow
def test_wheel_in_a_fresh_environment_runs_the_node_from_any_folder(tmp_path: Path) -> None:
    """The wheel alone is installed; what it depends on is seen where it is, so that no index is asked."""
    python = [sys.executable, "-m"]
    build = [*python, "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    subprocess.run([*build, str(REPOSITORY)], check=True, capture_output=True, timeout=100)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    fresh, elsewhere = tmp_path / "fresh", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([*python, "uv", "venv", "--offline", "--python", sys.executable, str(fresh)], check=True)
    install = [
        *python,
        "uv",
        "pip",
        "install",
        "--offline",
        "--no-deps",
        "--python",
        str(fresh / "bin" / "python"),
    ]
    subprocess.run([*install, str(wheel)], check=True, timeout=100)
    (site,) = (fresh / "lib").glob("python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(fresh / "bin" / command), *arguments],
            env=clean,
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    node = run("drivable-node", "--source", "synthetic", "--max-frames", "5", "--masks", "masks")
    imported = run("python", "-c", "import perception; print(perception.__file__)")

    assert node.returncode == 0, node.stderr
    assert len(list((elsewhere / "masks").rglob("*.png"))) == 5
    assert Path(imported.stdout.strip()).is_relative_to(site)
    assert wheel.name.startswith(f"drivable-{__version__}-")
    assert run("drivable-node", "--config", "node/live", "--print_config").returncode == 0


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return project


def _pinned(file: str) -> dict[str, tuple[Requirement, list[str]]]:
    """What a file of vehicles pins, by name and marker, each with its hashes."""
    lines = (REPOSITORY / "configs" / "node" / file).read_text().replace("\\\n", " ").splitlines()
    pins = {}
    for line in lines:
        if line and not line.lstrip().startswith("#"):
            text, *hashes = line.split(" --hash=")
            pins[text] = (Requirement(text), [value.strip() for value in hashes])
    return pins


@pytest.mark.parametrize(("file", "extra"), [("vehicle.txt", ""), ("vehicle-cuda.txt", "cuda")])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_vehicles_get_every_dependency_in_one_version_that_is_allowed(
    file: str, extra: str, machine: str
) -> None:
    where = {"python_version": "3.11", "python_full_version": "3.11.7"}
    where |= {"sys_platform": "linux", "platform_machine": machine, "extra": extra}
    pins = [pin for pin, _ in _pinned(file).values() if pin.marker is None or pin.marker.evaluate(where)]
    pinned = {canonicalize_name(pin.name): pin for pin in pins}
    extras = _project()["optional-dependencies"]
    wanted = [*_project()["dependencies"], *extras["mcap"], *extras["mqtt"], *extras.get(extra, [])]

    assert len(pinned) == len(pins)
    for requirement in map(Requirement, wanted):
        if requirement.marker is None or requirement.marker.evaluate(where):
            (version,) = pinned[canonicalize_name(requirement.name)].specifier
            assert version.operator == "=="
            assert requirement.specifier.contains(version.version), requirement


@pytest.mark.parametrize("file", ["vehicle.txt", "vehicle-cuda.txt"])
def test_all_that_vehicles_get_is_checked_against_a_hash(file: str) -> None:
    pins = _pinned(file)

    assert len(pins) > 10
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for _, hashes in pins.values() for value in hashes)
    assert all(hashes for _, hashes in pins.values())


def test_python_whose_fork_server_is_open_to_other_users_is_refused() -> None:
    allowed = SpecifierSet(_project()["requires-python"])

    assert not allowed.contains("3.11.0")
    assert allowed.contains("3.11.1")


def test_every_dependency_of_the_runtime_has_a_lower_bound() -> None:
    for requirement in map(Requirement, _project()["dependencies"]):
        assert any(bound.operator == ">=" for bound in requirement.specifier), requirement
