"""UrbanSound8K, PANN's weights, mn04's:
`python -m esc_suite download [dataset|weights|mn04|all] [--profile P] [--to DIR]`.

A broken download goes on where it stopped, every file is checked against its published checksum, the archive
is unpacked beside its place and renamed into it, and what is already there is neither downloaded nor unpacked
again.
"""

from __future__ import annotations

import argparse
import errno
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import filelock
import pooch

from esc_suite.run.archive import unpack_tar
from esc_suite.run.mn04_copy import is_mn04
from esc_suite.run.together import exit_with
from esc_suite.run.transfer import GB, NotReachedError, amount, progress, size, transfer
from esc_utils.config import RunConfig, layers_of
from esc_utils.errors import UserError
from esc_utils.paths import MN04_FILE, MN04_SHA256, PANN_FILE, data_folder, mn04_file

ZENODO, GITHUB = "https://zenodo.org", "https://github.com"


@dataclass(frozen=True)
class Source:
    """One published file, as its publisher states it. Sizes (bytes) serve the free-space check, so rough is
    enough."""

    name: str
    host: str
    path: str  # of the folder that it lies in
    checksum: str  # "md5:..." or "sha256:..."
    size: int
    folder: str = ""  # what the archive unpacks to; empty: not an archive
    unpacked: int = 0

    def url(self, base: str = "") -> str:
        """Its address, at the publisher's or at a mirror with the same paths."""
        return f"{base or self.host}/{self.path}/{quote(self.name, safe='')}"


SOURCES = {
    "dataset": Source(
        name="UrbanSound8K.tar.gz",
        host=ZENODO,
        path="records/1203745/files",
        checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
        size=6_100_000_000,
        folder="UrbanSound8K",
        unpacked=7_500_000_000,
    ),
    "weights": Source(
        name=PANN_FILE,
        host=ZENODO,
        path="records/3987831/files",
        checksum="sha256:e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        size=330_000_000,
    ),
    "mn04": Source(
        name=MN04_FILE,
        host=GITHUB,
        path="fschmid56/EfficientAT/releases/download/v0.0.1",
        checksum=f"sha256:{MN04_SHA256}",
        size=4_066_513,
    ),
}
PATIENCE = 120  # s that a run waits for another one's download
# What a profile needs; of others: everything
ON_MN04 = ("dataset", "mn04")
OF_PROFILE = {"lite": ON_MN04, "paper-partial": ON_MN04, "paper": ("dataset", "weights")}


def fetch(
    names: list[str], folder: Path, base_url: str = "", wait: float = 2.0, patience: float = 0.0
) -> dict[str, Path]:
    """Make the named sources present under `folder`; returns where each lies (the unpacked folder for the
    dataset).

    base_url: a mirror, in place of each publisher's host. wait: seconds before the first new try after a cut
    connection (doubled each time). patience: seconds to wait for another download into the same folder.
    Raises UserError: no space, no connection, not found, wrong checksum, an archive that must not be
    unpacked, a second download into the same folder at the same time.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".download.lock", timeout=patience):
            return _fetch_all([SOURCES[name] for name in names], names, folder, base_url.rstrip("/"), wait)
    except filelock.Timeout:
        raise UserError(
            f"another download into {folder} is running: wait for it, or choose another folder"
        ) from None
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            raise UserError(
                f"the disk of {folder} is full: free space and run the same command again, it goes on where "
                "it stopped"
            ) from None
        raise UserError(
            f"cannot write into {folder} ({problem.strerror or problem}): choose another folder with --to"
        ) from None


def ready(config: RunConfig) -> RunConfig:
    """Fetch what a run needs and is small, mn04's weights, where nobody has put them; parallel runs fetch
    once. Returns the config. UserError where they cannot be fetched, with their address and the folder to put
    them into."""
    if config.network == "mn04" and not config.weights_path and not mn04_file().is_file():
        fetch(["mn04"], mn04_file().parent, patience=PATIENCE)
    return config


def _fetch_all(
    sources: list[Source], names: list[str], folder: Path, base: str, wait: float
) -> dict[str, Path]:
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
        except NotReachedError as problem:
            raise UserError(f"{problem}; {_by_hand(missing, folder, base)}") from None
        if source.folder:
            _unpack(source, archive)
            print(f"{archive}: no longer needed, delete it to free {archive.stat().st_size / GB:.1f} GB")
        missing.remove(source)
    places = {
        name: folder / (source.folder or source.name) for name, source in zip(names, sources, strict=True)
    }
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
    tables = [
        path for path in (root / "metadata" / "UrbanSound8K.csv", root / "UrbanSound8K.csv") if path.is_file()
    ]
    if not tables:
        return None
    lines = tables[0].read_text(encoding="utf-8-sig", errors="replace").splitlines()
    named = {line.split(",", 1)[0] for line in lines if ".wav," in line}
    if not named:
        return None
    found = (path for top in (root / "audio", root) for path in top.glob("fold*/*.wav"))
    present = {path.name for path in found if path.is_file()}  # no link to nowhere
    return sorted(named - present)


def _by_hand(missing: list[Source], folder: Path, base: str) -> str:
    """What to do without a connection, for every file that is still missing."""
    files = "; ".join(
        f"{item.name} from {item.url(base)} ({item.checksum.replace(':', ' ')})" for item in missing
    )
    return f"by hand: put into {folder.resolve()} what is missing, then run the same command again: {files}"


def _require_space(missing: list[Source], folder: Path) -> None:
    need = 0
    for source in missing:
        archive = folder / source.name
        part = size(archive.with_name(f"{archive.name}.part"))
        need += source.unpacked + (0 if archive.exists() else max(source.size - part, 0))
    free = shutil.disk_usage(folder).free
    if free < need:
        raise UserError(
            f"{folder} has {amount(free)} free, {amount(need)} are needed for "
            f"{', '.join(source.name for source in missing)}: free space, or choose another disk with --to"
        )


def _require_checksum(path: Path, source: Source, keep: bool) -> None:
    kind, expected = source.checksum.split(":")
    found = pooch.file_hash(str(path), alg=kind)
    if found == expected or _is_other_copy(path, source, f"{kind} {found}, known: {expected}"):
        return
    if keep:
        raise UserError(
            f"{path} is not {source.name} ({kind} {found}, must be {expected}; cut short?): delete it and "
            "run again"
        )
    path.unlink()
    raise UserError(
        f"{source.name} arrived damaged ({kind} {found}, must be {expected}) and was deleted: run the same "
        "command again"
    )


def _download(source: Source, target: Path, base: str, wait: float) -> None:
    part = target.with_name(f"{target.name}.part")
    transfer(source.url(base), part, source.name, wait)
    print(f"{source.name}: downloaded, checking {source.checksum.split(':')[0]}")
    _require_checksum(part, source, keep=False)
    part.rename(target)


def _is_other_copy(path: Path, source: Source, sums: str) -> bool:
    """Whether a file with another checksum is mn04 all the same: what its release says of the file could not
    be seen, so the tensors decide."""
    if source.name != MN04_FILE:
        return False
    if not is_mn04(path):
        return False
    print(
        f"warning: {source.name} has another checksum than the known copy ({sums}), but holds mn04's "
        "weights: accepted"
    )
    return True


# --- unpacking ------------------------------------------------------------------------------------
# pooch.Untar extracts in place: a kill would leave half a dataset that looks whole. Here the rename is the
# last step.


def _unpack(source: Source, archive: Path) -> None:
    """Unpack into a folder beside the target, look whether it is whole, rename. Nothing is left behind on
    failure."""
    target = archive.parent / source.folder
    work = archive.parent / f".unpacking-{source.folder}"
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed; the lock keeps others out
    work.mkdir()
    try:
        with progress(f"unpacking {source.name}", 0, source.unpacked) as step:
            unpack_tar(archive, work, 2 * source.unpacked, step)
        top = work / source.folder
        lacking = missing_clips(top) if top.is_dir() else None
        if lacking is None or lacking:
            what = (
                "no UrbanSound8K.csv with clips in it"
                if lacking is None
                else f"{len(lacking)} clips are missing"
            )
            raise UserError(f"{archive} does not hold the whole dataset ({what}): delete it and run again")
        top.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_suite download", description=__doc__)
    parser.add_argument("what", nargs="?", choices=[*SOURCES, "all"], help="default: what the profile needs")
    parser.add_argument(
        "--profile", default="quick", help="lite or paper; of any other, everything is downloaded"
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="default: data/ in the project")
    parser.add_argument("--base-url", default="", help="a mirror with the publishers' paths")
    args = parser.parse_args(argv)
    needed = OF_PROFILE.get(args.profile, SOURCES)
    names = {None: needed, "all": SOURCES}.get(args.what, [args.what])
    try:
        with exit_with():
            layers_of(args.profile, "")  # a mistyped profile downloads nothing
            fetch(list(names), args.to or data_folder(), args.base_url)
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
