"""Unpack a tar.gz that nobody vouches for: plain files and folders only, all of them inside the target."""

import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from esc_utils.errors import UserError

if not hasattr(tarfile, "data_filter"):  # before Python 3.11.4, as Debian 12 has it
    from backports import tarfile


def unpack_tar(
    archive: Path, folder: Path, limit: float, step: Callable[[int], None] = lambda count: None
) -> None:
    """Unpack `archive` into the existing `folder`; `step` is called with the bytes of each member.

    Raises UserError for a member that is a link or a device or whose name leads elsewhere, for more than
    `limit` bytes, and for a damaged archive. What was unpacked until then stays: give a folder that can be
    thrown away.
    """
    total = 0

    def guard(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        # Stricter than the standard data filter, which allows links and silently makes absolute names
        # relative: a dataset is plain files and folders, so anything else means that this is not the dataset.
        nonlocal total
        name = PureWindowsPath(member.name)  # knows both kinds of slash, and drive letters
        if name.anchor or ".." in name.parts or not (member.isfile() or member.isdir()):
            raise UserError(
                f"{archive} is not safe to unpack (member {member.name!r}): delete it and run again"
            )
        total += member.size
        if total > limit:
            raise UserError(
                f"{archive} unpacks to over {limit / 1e9:.0f} GB, so it is not the dataset: delete it"
            )
        step(member.size)
        return tarfile.data_filter(member, path)

    damaged = f"{archive} cannot be unpacked (%s): delete it and run again"
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter=guard)
    except (tarfile.TarError, EOFError, zlib.error) as problem:
        raise UserError(damaged % problem) from None
    except OSError as problem:
        if problem.errno is not None:  # the disk, not the archive
            raise
        raise UserError(damaged % problem) from None  # gzip.BadGzipFile
