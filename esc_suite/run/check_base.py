"""What the checks of this machine and of its data stand on."""

import os
from pathlib import Path
from typing import NamedTuple

from esc_utils import config as configuration
from esc_utils.errors import UserError


class Line(NamedTuple):
    status: str  # ok, warn or fail
    name: str
    text: str


class Setup(NamedTuple):
    """What is checked."""

    config: configuration.RunConfig
    root: Path
    quick: bool


def existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def require_writable(folder: Path, remedy: str) -> None:
    """Try it, for real: permission bits say little on network disks and for root. Leaves no new folder
    behind."""
    nearest = existing(folder)
    probe = nearest / f".esc-check-{os.getpid()}"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as problem:
        raise UserError(f"cannot write to {nearest} ({problem.strerror}): {remedy}") from None


def first_few(items: list[str], most: int = 3) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
