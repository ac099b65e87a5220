"""Files that are there whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from .errors import UserError


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that readers and a kill see either the old or the new content."""
    replace_all({path: content})


def replace_all(contents: dict[Path, bytes], sync: bool = True) -> None:
    """Write several files of which the last one says that all are there: first every temporary (a full disk
    is noticed before anything changes), then the last file goes, the others are replaced, and the last one
    comes.

    sync=False leaves out the fsync, for what is made again in seconds. UserError where they cannot be
    written."""
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in contents}
    last = list(contents)[-1]
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporaries[path].open("wb") as file:
                file.write(content)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        if len(contents) > 1:
            last.unlink(missing_ok=True)
        for path in contents:
            temporaries[path].replace(path)
    except OSError as error:
        raise UserError(
            f"{last} cannot be written ({error.strerror}): free some space or set outputs elsewhere"
        ) from None
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):  # where its folder is a file
                temporary.unlink(missing_ok=True)
