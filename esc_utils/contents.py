"""Digests of files. Content counts; a file is read again only when its size or a time of it has changed."""

import hashlib
import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from . import limits
from .errors import UserError
from .files import write_atomic

# S: times on some disks are this coarse, so a file that has just changed is read again next time
SETTLED = 3.0
_known: dict[str, tuple[int, int, int, str]] = {}  # of this process: path -> size, times, SHA-256


def visible(folder: Path, pattern: str) -> list[Path]:
    """Files of that pattern anywhere under a folder, sorted; none that is hidden or in a hidden folder below
    it, as what macOS (._name) and JupyterLab (.ipynb_checkpoints) leave there."""
    found = []
    for path in folder.rglob(pattern):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        found += [] if hidden or not path.is_file() else [path]
    return sorted(found)


def state(about: os.stat_result) -> tuple[int, int, int] | None:
    """Size and times of a regular file; None for whatever else has a name: a folder, a pipe."""
    return (about.st_size, about.st_mtime_ns, about.st_ctime_ns) if stat.S_ISREG(about.st_mode) else None


def settled(found: tuple[int, int, int]) -> bool:
    """Whether a file of this state has not just changed, so that any later change shows in the state."""
    return max(found[1:]) / 1e9 < time.time() - SETTLED


def sha256(path: Path, found: tuple[int, int, int] | None = None) -> str:
    """SHA-256 of a file in hex. `found`: its `state`, where that is known. UserError where the file cannot be
    read."""
    try:
        found = found or state(path.stat()) or (-1, 0, 0)
        if (before := _known.get(str(path))) and before[:3] == found:
            return before[3]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): check its permissions and its disk"
        ) from None
    if settled(found):
        _known[str(path)] = (*found, digest)
    return digest


def digests(
    folder: Path, states: dict[str, tuple[int, int, int]], memory: Path | None = None
) -> dict[str, str]:
    """SHA-256 of each file of a folder, by its name there. `states`: what `state` says of each. `memory`: a
    file that keeps the digests from one process to the next, where it can be written."""
    known = _read(memory) if memory else {}
    for name, (*before, digest) in known.items():
        _known.setdefault(str(folder / name), (*before, digest))
    with ThreadPoolExecutor(limits.cores()) as pool:
        found = dict(
            zip(states, pool.map(lambda name: sha256(folder / name, states[name]), states), strict=True)
        )
    kept = {name: _known[str(folder / name)] for name in found if str(folder / name) in _known}
    if memory and kept != known:
        with suppress(UserError):
            write_atomic(memory, json.dumps(kept).encode())
    return found


def _read(memory: Path) -> dict[str, tuple[int, int, int, str]]:
    """What `digests` has kept; nothing where the file is missing or damaged, since all can be read again."""
    try:
        found = json.loads(memory.read_bytes())
        return {str(name): (int(size), int(m), int(c), str(sha)) for name, (size, m, c, sha) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
