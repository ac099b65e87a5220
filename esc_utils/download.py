"""UrbanSound8K and the PANN weights from Zenodo: `python -m esc_utils.download [dataset|weights|all] --to DIR`.

A broken download goes on where it stopped, every file is checked against its published checksum, the archive is
unpacked beside its place and renamed into it, and what is already there is neither downloaded nor unpacked again.
"""

from __future__ import annotations

import argparse
import errno
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import filelock
import pooch
import requests
from tqdm import tqdm

from esc_utils.archive import unpack_tar
from esc_utils.config import data_folder
from esc_utils.errors import UserError

BASE_URL = "https://zenodo.org"
GB = 1e9
BLOCK = 1 << 16  # what a cut connection can lose at most
TRIES = 3  # in a row that bring nothing new


@dataclass(frozen=True)
class Source:
    """One published file, as Zenodo states it. Sizes (bytes) serve the free-space check, so rough is enough."""

    name: str
    record: int
    checksum: str  # "md5:..." or "sha256:..."
    size: int
    folder: str = ""  # what the archive unpacks to; empty: not an archive
    unpacked: int = 0

    def url(self, base: str) -> str:
        return f"{base}/records/{self.record}/files/{quote(self.name, safe='')}"


SOURCES = {
    "dataset": Source(
        name="UrbanSound8K.tar.gz",
        record=1203745,
        checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
        size=6_100_000_000,
        folder="UrbanSound8K",
        unpacked=7_500_000_000,
    ),
    "weights": Source(
        name="Cnn14_16k_mAP=0.438.pth",
        record=3987831,
        checksum="sha256:e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        size=330_000_000,
    ),
}


def fetch(names: list[str], folder: Path, base_url: str = BASE_URL, wait: float = 2.0) -> dict[str, Path]:
    """Make the named sources present under `folder`; returns where each lies (the unpacked folder for the dataset).

    wait: seconds before the first new try after a cut connection (doubled each time).
    Raises UserError: no space, no connection, not found, wrong checksum, an archive that must not be unpacked,
    a second download into the same folder at the same time.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".download.lock", timeout=0):
            return _fetch_all([SOURCES[name] for name in names], names, folder, base_url.rstrip("/"), wait)
    except filelock.Timeout:
        raise UserError(f"another download into {folder} is running: wait for it, or choose another folder") from None
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            raise UserError(
                f"the disk of {folder} is full: free space and run the same command again, it goes on where it stopped"
            ) from None
        raise UserError(
            f"cannot write into {folder} ({problem.strerror or problem}): choose another folder with --to"
        ) from None


def _fetch_all(sources: list[Source], names: list[str], folder: Path, base: str, wait: float) -> dict[str, Path]:
    missing = [source for source in sources if not _ready(source, folder)]
    _require_space(missing, folder)
    for source in list(missing):
        archive = folder / source.name
        try:
            if archive.exists():
                print(f"{archive}: found, checking {source.checksum.split(':')[0]}")
                _require_checksum(archive, source, keep=True)
            else:
                _download(source, archive, base, wait)
        except _NotReachedError as problem:
            raise UserError(f"{problem}; {_by_hand(missing, folder, base)}") from None
        if source.folder:
            _unpack(source, archive)
            print(f"{archive}: no longer needed, delete it to free {archive.stat().st_size / GB:.1f} GB")
        missing.remove(source)
    places = {name: folder / (source.folder or source.name) for name, source in zip(names, sources, strict=True)}
    for name, place in places.items():
        print(f"{name}: ready in {place}")
    return places


def _ready(source: Source, folder: Path) -> bool:
    """Is nothing left to do? A dataset folder that lacks clips is an error: it may be the user's own work."""
    if not source.folder:
        return False  # a single file is checked by its checksum, which takes about a second
    place = folder / source.folder
    if not place.exists():
        return False
    lacking = missing_clips(place)
    if lacking is None or lacking:
        what = (
            "has no UrbanSound8K.csv with clips in it"
            if lacking is None
            else f"lacks {len(lacking)} clips, such as {lacking[0]}"
        )
        raise UserError(f"{place} {what}: remove or rename that folder and run the same command again")
    return True


def missing_clips(root: Path) -> list[str] | None:
    """Names in the dataset's CSV for which no WAV file exists (both layouts); None where no CSV names any."""
    tables = [path for path in (root / "metadata" / "UrbanSound8K.csv", root / "UrbanSound8K.csv") if path.is_file()]
    if not tables:
        return None
    lines = tables[0].read_text(encoding="utf-8-sig", errors="replace").splitlines()
    named = {line.split(",", 1)[0] for line in lines if ".wav," in line}
    if not named:
        return None
    present = {path.name for top in (root / "audio", root) for path in top.glob("fold*/*.wav")}
    return sorted(named - present)


def _by_hand(missing: list[Source], folder: Path, base: str) -> str:
    """What to do without a connection, for every file that is still missing."""
    files = "; ".join(f"{item.name} from {item.url(base)} ({item.checksum.replace(':', ' ')})" for item in missing)
    return f"by hand: put into {folder.resolve()} what is missing, then run the same command again: {files}"


def _require_space(missing: list[Source], folder: Path) -> None:
    need = 0
    for source in missing:
        archive = folder / source.name
        part = _size(archive.with_name(f"{archive.name}.part"))
        need += source.unpacked + (0 if archive.exists() else max(source.size - part, 0))
    free = shutil.disk_usage(folder).free
    if free < need:
        raise UserError(
            f"{folder} has {free / GB:.1f} GB free, {need / GB:.1f} GB are needed for "
            f"{', '.join(source.name for source in missing)}: free space, or choose another disk with --to"
        )


def _require_checksum(path: Path, source: Source, keep: bool) -> None:
    kind, expected = source.checksum.split(":")
    found = pooch.file_hash(str(path), alg=kind)
    if found == expected:
        return
    if keep:
        raise UserError(
            f"{path} is not {source.name} ({kind} {found}, must be {expected}; cut short?): delete it and run again"
        )
    path.unlink()
    raise UserError(
        f"{source.name} arrived damaged ({kind} {found}, must be {expected}) and was deleted: run the same command again"
    )


# --- download ---------------------------------------------------------------------------------------------------------
# pooch has no resume: a cut connection costs the whole file, here 6 GB. So the stream is our own; the hash is pooch's.


class _NotReachedError(Exception):
    """The server did not give the file; the caller adds what to do by hand."""


class _CutError(Exception):
    """The connection broke or the server is busy: another try may do."""


def _download(source: Source, target: Path, base: str, wait: float) -> None:
    part = target.with_name(f"{target.name}.part")
    best, idle = _size(part), 0
    while True:
        try:
            _stream(source.url(base), part, source.name)
            break
        except _CutError as problem:
            size = _size(part)
            idle = 0 if size > best else idle + 1  # a connection that still brings something is never given up
            best = max(best, size)
            if idle == TRIES:
                kept = f"; {size / GB:.2f} GB are kept for the next run" if size else ""
                raise _NotReachedError(f"cannot download {source.name}: {problem}{kept}") from None
            pause = wait * 2**idle
            print(f"{source.name}: {problem}; next try in {pause:.0f} s, from {size / GB:.2f} GB on", flush=True)
            time.sleep(pause)
    print(f"{source.name}: downloaded, checking {source.checksum.split(':')[0]}")
    _require_checksum(part, source, keep=False)
    part.rename(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _stream(url: str, part: Path, label: str) -> None:
    """Append what is missing to `part`. A server that ignores the range sends everything, so the file starts anew."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=30) as reply:
            if reply.status_code == 416:  # nothing after `have`: complete, or not a part of this file
                if reply.headers.get("Content-Range", "").endswith(f"/{have}"):
                    return
                part.unlink()
                raise _CutError("the partial file does not fit, starting anew")
            if reply.status_code in (408, 425, 429) or reply.status_code >= 500:
                raise _CutError(f"{url} answers {reply.status_code} {reply.reason}")
            if reply.status_code not in (200, 206):
                raise _NotReachedError(f"cannot download {label}: {url} answers {reply.status_code} {reply.reason}")
            resumed = reply.status_code == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if have and reply.status_code == 206 and not resumed:
                part.unlink()
                raise _CutError("the server sent another range, starting anew")
            start = have if resumed else 0
            length = reply.headers.get("Content-Length")
            total = start + int(length) if length else None
            with part.open("ab" if resumed else "wb") as file, _progress(label, start, total) as step:
                for block in reply.iter_content(BLOCK):
                    file.write(block)
                    step(len(block))
            if total is not None and part.stat().st_size < total:
                raise _CutError("the connection was cut")
    except requests.exceptions.ChunkedEncodingError:
        raise _CutError("the connection was cut") from None
    except (requests.ConnectionError, requests.Timeout) as problem:
        raise _CutError(f"no connection to {url.split('/records')[0]} ({type(problem).__name__})") from None
    except requests.RequestException as problem:
        raise _NotReachedError(f"cannot download {label} from {url} ({problem})") from None


@contextmanager
def _progress(label: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere (a log file) one plain line each tenth of the way."""
    if sys.stderr.isatty():
        with tqdm(desc=label, initial=start, total=total, unit="B", unit_scale=True) as bar:
            yield bar.update
        return
    done, said = start, int(10 * start / total) if total else 0

    def step(count: int) -> None:
        nonlocal done, said
        done += count
        if total and int(10 * done / total) > said:
            said = int(10 * done / total)
            print(f"{label}: {10 * said} % of {total / GB:.2f} GB", flush=True)

    yield step


# --- unpacking --------------------------------------------------------------------------------------------------------
# pooch.Untar extracts in place: a kill would leave half a dataset that looks whole. Here the rename is the last step.


def _unpack(source: Source, archive: Path) -> None:
    """Unpack into a folder beside the target, look whether it is whole, rename. Nothing is left behind on failure."""
    target = archive.parent / source.folder
    work = archive.parent / f".unpacking-{source.folder}"
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed; the lock keeps others out
    work.mkdir()
    try:
        with _progress(f"unpacking {source.name}", 0, source.unpacked) as step:
            unpack_tar(archive, work, 2 * source.unpacked, step)
        top = work / source.folder
        lacking = missing_clips(top) if top.is_dir() else None
        if lacking is None or lacking:
            what = "no UrbanSound8K.csv with clips in it" if lacking is None else f"{len(lacking)} clips are missing"
            raise UserError(f"{archive} does not hold the whole dataset ({what}): delete it and run again")
        top.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_utils.download", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="all", choices=[*SOURCES, "all"])
    parser.add_argument("--to", type=Path, metavar="DIR", help="default: data/ in the project")
    parser.add_argument("--base-url", default=BASE_URL, help="a mirror with Zenodo's paths")
    args = parser.parse_args(argv)
    try:
        fetch(list(SOURCES) if args.what == "all" else [args.what], args.to or data_folder(), args.base_url)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
