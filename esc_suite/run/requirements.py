"""requirements.lock and pyproject.toml: read, and held against each other."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from esc_utils.errors import UserError


def project(root: Path) -> dict:
    """The [project] table of pyproject.toml."""
    path = root / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as problem:
        raise UserError(f"{path} cannot be read ({problem}): check out the project again") from None


def needs(texts: Iterable[str]) -> list[Requirement]:
    """Those dependencies of pyproject.toml that this machine has, by their markers."""
    return [need for need in map(Requirement, texts) if need.marker is None or need.marker.evaluate()]


def read_lock(path: Path) -> list[Requirement]:
    """The pins that apply to this machine. UserError for a line that is not `name==version [; marker]`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise UserError(f"{path} cannot be read ({problem.strerror}): check out the project again") from None
    pins = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            pin = Requirement(line)
        except InvalidRequirement:
            pin = None
        if pin is None or pin.url or [part.operator for part in pin.specifier] != ["=="]:
            raise UserError(
                f"{path}, line {number}: '{line}' is not name==version: take the file as checked in"
            )
        if pin.marker is None or pin.marker.evaluate():
            pins.append(pin)
    return pins


def version_of(pin: Requirement) -> str:
    """`2.11.0` of `torch==2.11.0`."""
    return next(iter(pin.specifier)).version


def plain(name: str) -> str:
    """A package name as registries compare it: `Pytorch_Optimizer` -> `pytorch-optimizer`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_problems(root: Path) -> list[str]:
    """Each dependency of pyproject.toml (the tests' too) that requirements.lock lacks, or has at an excluded
    version."""
    table = project(root)
    wanted = [
        *table["dependencies"],
        *(need for extra in table["optional-dependencies"].values() for need in extra),
    ]
    locked = {plain(pin.name): version_of(pin) for pin in read_lock(root / "requirements.lock")}
    problems = []
    for need in needs(wanted):
        found = locked.get(plain(need.name))
        if found is None:
            problems.append(f"{need.name} is not locked")
        elif found not in need.specifier:
            problems.append(f"{need.name} {found} is not {need.specifier}")
    return problems
