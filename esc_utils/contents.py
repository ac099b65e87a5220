"""What is in files. A file is read again only when its size or a time of it has changed."""

import hashlib
import json
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from .errors import UserError
from .files import write_atomic

# s; times on some disks are this coarse, so a file that has just changed is read again next time
SETTLED = 3.0
_known: dict[str, list] = {}  # of this process: path -> state, SHA-256


def visible(folder: Path, pattern: str) -> list[Path]:
    """Files of that pattern anywhere under a folder, sorted; none that is hidden or in a hidden folder below
    it, as what macOS (._name) and JupyterLab (.ipynb_checkpoints) leave there."""
    found = (path for path in folder.rglob(pattern) if path.is_file())
    return sorted(p for p in found if not any(part[0] == "." for part in p.relative_to(folder).parts))


def state(path: Path) -> list[int] | None:
    """Size and times of a regular file; None where there is none, or something else has its name."""
    with suppress(OSError):
        about = path.stat()
        if stat.S_ISREG(about.st_mode):
            return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
    return None


def settled(found: list[int] | None) -> bool:
    """Whether a file of this state has not just changed, so that any later change shows in the state."""
    return found is not None and max(found[1:]) / 1e9 < time.time() - SETTLED


def sha256(path: Path) -> str:
    """SHA-256 of a file in hex, read once in a process. UserError where the file cannot be read."""
    try:
        return _answer(path, _sha256, _known)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): check its permissions and its disk"
        ) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _answer(path: Path, look: Callable, known: dict, keep: Callable = bool):
    """What is known of a file in its state, else look(path), which becomes known where it will hold."""
    found = state(path)
    if found and (before := known.get(str(path))) and before[0] == found:
        return before[1]
    lasting = settled(found)  # before it is read: a change from now on shows in its state
    answer = look(path)
    if lasting and keep(answer):
        known[str(path)] = [found, answer]
    return answer


def remembered(
    paths: list[Path], look: Callable, memory: Path | None, keep: Callable = bool, progress: Callable = iter
) -> list:
    """look(path) of each file, several at a time. Answers for which keep(answer) holds are kept in `memory`,
    a JSON file, from one process to the next, where it can be written. `progress` may wrap the answers."""
    before = _read(memory) if memory else {}
    known = {path: before[path] for path in map(str, paths) if path in before}
    with ThreadPoolExecutor() as pool:
        answers = pool.map(partial(_answer, look=look, known=known, keep=keep), paths)
        found = list(progress(answers))
    if memory and known != before:
        with suppress(UserError):
            write_atomic(memory, json.dumps(known).encode())
    return found


def _read(memory: Path) -> dict[str, list]:
    """What `remembered` has kept; nothing where the file is missing or damaged: all can be read again."""
    try:
        found = json.loads(memory.read_bytes())
        return {name: [list(map(int, about)), answer] for name, (about, answer) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
