"""pyproject.toml, requirements.lock and environment.yml say the same, and the lock is a plain list of
versions."""

import itertools
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = (ROOT / "requirements.lock").read_text().splitlines()
CONDA_TEXT = (ROOT / "environment.yml").read_text()
CONDA = yaml.safe_load(CONDA_TEXT)
GROUPS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
DIRECT = [Requirement(text) for group in GROUPS for text in group]
PYTHONS = ("3.11.2", "3.11.9", "3.12.4", "3.13.1")
PLATFORMS = {  # sys_platform: (os_name, platform_system)
    "linux": ("posix", "Linux"),
    "darwin": ("posix", "Darwin"),
    "win32": ("nt", "Windows"),
}
MACHINES = list(itertools.product(PYTHONS, PLATFORMS))


def pins(python: str, platform: str) -> dict[str, str]:
    """name -> version of the lines that apply to a machine; a second line for one name is an error."""
    os_name, system = PLATFORMS[platform]
    machine = default_environment() | {
        "python_full_version": python, "python_version": python.rpartition(".")[0],
        "implementation_name": "cpython",
        "sys_platform": platform, "os_name": os_name, "platform_system": system,
    }  # fmt: skip
    found = {}
    for pin in map(Requirement, LINES):
        if pin.marker is None or pin.marker.evaluate(machine):
            assert pin.name not in found
            found[pin.name] = next(iter(pin.specifier)).version
    return found


def test_lock_is_a_plain_sorted_list():
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*( ; [^;@#]+)?", line), line
        assert "/" not in line and "--" not in line
    names = [line.split("==")[0] for line in LINES]
    assert names == sorted(names)


def test_markers_ask_for_python_and_platform_only():
    asked = {
        word
        for line in LINES
        for word in re.findall(r"([a-z_]+) (?:==|!=|<|<=|>|>=) '", line.partition(";")[2])
    }
    assert asked <= {
        "python_full_version",
        "sys_platform",
        "os_name",
        "platform_system",
        "implementation_name",
    }


@pytest.mark.parametrize(("python", "platform"), MACHINES)
def test_lock_satisfies_every_direct_dependency(python, platform):
    locked = pins(python, platform)
    for need in DIRECT:
        if need.marker and not need.marker.evaluate({"python_full_version": python}):
            continue
        assert locked[canonicalize_name(need.name)] in need.specifier, need


def test_lock_is_closed():
    """What the installed packages need in turn is locked too, at a version that they accept."""
    here = default_environment()
    locked = pins(here["python_full_version"], here["sys_platform"])
    seen = 0
    for name in locked:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert locked[canonicalize_name(need.name)] in need.specifier, f"{name} needs {need}"
                seen += 1
    assert seen > 200


def test_torch_and_torchaudio_are_of_one_release():
    for machine in MACHINES:
        assert pins(*machine)["torch"] == pins(*machine)["torchaudio"]


def test_every_python_that_the_project_allows_is_checked():
    allowed = SpecifierSet(PROJECT["requires-python"])
    minor = [f"3.{number}" for number in range(8, 20) if f"3.{number}.5" in allowed]
    assert minor == list(dict.fromkeys(python.rpartition(".")[0] for python in PYTHONS))


def test_conda_environment_takes_everything_from_the_lock():
    assert set(CONDA) == {"name", "channels", "dependencies"}
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]
    python, pip, inner = CONDA["dependencies"]
    assert pip == "pip" and inner["pip"] == ["-r requirements.lock", "-e ."]
    name, _, version = python.partition("=")
    assert name == "python" and f"{version}.9" in SpecifierSet(PROJECT["requires-python"])


def test_no_addresses():
    """Registries are the user's own choice; a file that names one breaks behind another."""
    for text in (CONDA_TEXT, "\n".join(LINES), (ROOT / "pyproject.toml").read_text()):
        assert not re.search(r"https?://|--index|--extra-index|--find-links", text)
