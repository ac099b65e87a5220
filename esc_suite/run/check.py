"""Is this machine ready? `python -m esc_suite check [--profile quick] [--data DIR] [--outputs DIR] [--quick]`.

One line a check: ok, warn (it will run, but look at this) or fail (it will not run), each with its remedy. Exit status 1
if anything fails. `--quick` leaves out what takes seconds: importing torch, decoding clips, checksums of weights.
"""

import argparse
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

from esc_suite.run import check_place
from esc_suite.run.requirements import lock_problems, needs, project, read_lock
from esc_utils import config as configuration
from esc_utils import limits
from esc_utils.errors import UserError
from esc_utils.paths import ASSETS, mn04_file

FREE_GB = {"quick": 1, "lite": 3, "paper": 8}  # feature store, run records, checkpoints
GB = 1e9


class Line(NamedTuple):
    status: str  # ok, warn or fail
    name: str
    text: str


class Setup(NamedTuple):
    """What is checked."""

    config: configuration.RunConfig
    root: Path
    quick: bool


def setup_of(profile: str = "quick", quick: bool = False, **overrides) -> Setup:
    """The profile with knobs (data_dir, outputs, ...) laid over it. UserError where a parameter is at fault."""
    settings = configuration.load(configuration.layers_of(profile, ""), {"profile": profile} | overrides)
    return Setup(settings, configuration.project_root(), quick)


def run(setup: Setup) -> list[Line]:
    """All checks, in the order of the data's way."""
    return [line for check in CHECKS for line in _lines(check, setup)]


def _lines(check: Callable[[Setup], Iterator[Line]], setup: Setup) -> Iterator[Line]:
    try:
        yield from check(setup)
    except UserError as problem:
        yield Line("fail", check.__name__, str(problem))


# --- the checks: each yields lines, or raises UserError for a failure -------------------------------------------------


def python(setup: Setup) -> Iterator[Line]:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {limits.cores()} cores"
    wanted = project(setup.root)["requires-python"]
    if not Requirement(f"python{wanted}").specifier.contains(platform.python_version()):
        yield Line("fail", "python", f"{text}: this suite needs {wanted}, make the environment with such a Python")
    else:
        yield Line("ok", "python", text)


def lock(setup: Setup) -> Iterator[Line]:
    """pyproject.toml against requirements.lock."""
    problems = lock_problems(setup.root)
    if problems:
        raise UserError(f"requirements.lock does not fit pyproject.toml ({'; '.join(problems)}): make the lock anew")
    yield Line("ok", "lock", "requirements.lock satisfies pyproject.toml")


def packages(setup: Setup) -> Iterator[Line]:
    """What is installed, against the lock: a missing direct dependency fails, another version only warns."""
    locked = read_lock(setup.root / "requirements.lock")
    remedy = "install with `uv pip sync requirements.lock`"
    direct = needs(project(setup.root)["dependencies"])
    missing = [need.name for need in direct if _installed(need.name) is None]
    if missing:
        raise UserError(f"missing: {', '.join(missing)}; {remedy}")
    unfit = [f"{n.name} {_installed(n.name)} (needs {n.specifier})" for n in direct if _installed(n.name) not in n.specifier]
    other = [
        f"{need.name} {found} (lock: {need.specifier})"
        for need in locked
        if (found := _installed(need.name)) is not None and found not in need.specifier
    ]
    if unfit:
        yield Line("warn", "packages", f"outside the supported versions: {_some(unfit)}; {remedy}")
    elif other:
        yield Line("warn", "packages", f"not the tested versions: {_some(other)}; {remedy}")
    else:
        yield Line("ok", "packages", f"the {len(locked)} locked versions")


def torch(setup: Setup) -> Iterator[Line]:
    """torch and torchaudio must be of one release and one build; a mismatch breaks `import torchaudio`."""
    build, audio = _version_file("torch"), _version_file("torchaudio")
    remedy = "install both together with `uv pip sync requirements.lock`"
    if build is None or audio is None:
        raise UserError(f"{'torch' if build is None else 'torchaudio'} is not installed; {remedy}")
    text = f"torch {build['version']}, torchaudio {audio['version']}"
    if Version(build["version"]).release[:2] != Version(audio["version"]).release[:2]:
        raise UserError(f"{text}: they must be of the same release; {remedy}")
    flavours = [Version(found["version"]).local or "" for found in (build, audio)]
    if sys.platform == "linux" and flavours[0] != flavours[1] and (build["cuda"] is None or "cpu" in flavours[1]):
        raise UserError(f"{text}: torchaudio needs the same build (CPU or CUDA) as torch; {remedy}")
    if not setup.quick:
        try:
            import torchaudio  # noqa: F401
        except (ImportError, OSError) as problem:
            raise UserError(f"{text}: cannot be imported ({' '.join(str(problem).split())}); {remedy}") from None
    yield Line("ok", "torch", text)


def engine(setup: Setup) -> Iterator[Line]:
    if metadata.entry_points(group="papermill.engine", name="esc"):
        yield Line("ok", "engine", "papermill knows --engine esc")
    else:
        remedy = "install the project itself: `uv pip install --no-deps -e .`"
        yield Line("warn", "engine", f"papermill does not know --engine esc (make and Snakemake use it); {remedy}")


def place(setup: Setup) -> Iterator[Line]:
    yield from (Line(*line) for line in check_place.place(setup.root))
    if not setup.quick:
        yield from (Line(*line) for line in check_place.sockets())


def device(setup: Setup) -> Iterator[Line]:
    if setup.quick:
        return
    import torch

    from esc_utils.device import choose_device

    choose_device(setup.config.device)

    wanted = setup.config.device
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        count = torch.cuda.device_count()
        text = f"CUDA: {card.name}, {card.total_memory / GB:.0f} GB" + (f", and {count - 1} more" if count > 1 else "")
        if setup.config.profile == "paper" and card.total_memory < 15 * GB:
            yield Line("warn", "device", f"{text}: the paper profile is planned for 16 GB")
        else:
            yield Line("ok", "device", text)
    elif wanted.startswith("cuda"):
        raise UserError(f"device: {wanted}, but torch sees no CUDA device{_driver()}: set device: auto, or mend the driver")
    elif setup.config.profile == "paper":
        yield Line("warn", "device", f"CPU: the paper profile takes weeks without a CUDA device{_driver()}")
    else:
        text = f"CPU, {torch.get_num_threads()} threads"
        yield Line("warn" if _driver() else "ok", "device", text + _driver(": mend the driver, or leave it"))


def dataset(setup: Setup) -> Iterator[Line]:
    from esc_utils import urbansound

    if setup.config.dataset == "synthetic":
        yield Line("ok", "dataset", "synthesised on first use, no download")
        return
    found = urbansound.load(urbansound.find_dataset(setup.config.data_dir), setup.config.allow_partial)
    urbansound.leak_check(found)
    sizes = found.clips["fold"].value_counts().to_dict()
    layout = "official" if (found.root / "metadata").is_dir() else "Kaggle's"
    text = f"{found.root}: {layout} layout, {len(found.clips)} clips in {len(sizes)} folds"
    if found.synthesised:
        yield Line("warn", "dataset", f"{text}: synthesised, not UrbanSound8K; give another folder with --data")
    elif odd := [
        f"fold {k} has {sizes.get(k, 0)}, not {n}" for k, n in urbansound.FOLD_SIZES.items() if sizes.get(k, 0) != n
    ]:
        yield Line("warn", "dataset", f"{text}: not the whole UrbanSound8K ({_some(odd)}); `make data` gets it")
    else:
        yield Line("ok", "dataset", f"{text}, as published")
    if not setup.quick:
        from esc_utils.features import decode

        clips = found.clips.groupby("fold").first()["path"]
        seconds = sum(len(decode(path)) for path in clips) / 16000
        yield Line("ok", "audio", f"one clip of each fold decoded, {seconds:.1f} s")


def weights(setup: Setup) -> Iterator[Line]:
    settings = setup.config
    given = Path(settings.weights_path).expanduser() if settings.weights_path else None
    if not settings.pretrained:
        return
    if settings.backbone == "pann":
        from esc_suite.run.download import SOURCES

        source = SOURCES["weights"]
        path = given or configuration.data_folder() / source.name
        if not path.is_file():
            raise UserError(f"no {path}: run `make data`, or put {source.name} there ({source.checksum})")
        if setup.quick:
            yield Line("ok", "weights", f"{path} is there")
            return
        import pooch

        kind, expected = source.checksum.split(":")
        if pooch.file_hash(str(path), alg=kind) == expected:
            yield Line("ok", "weights", f"{path}, {kind} as published")
        else:
            yield Line("warn", "weights", f"{path} is not the published file ({kind} differs): rows will say PANN for it")
    elif settings.backbone == "synthesised":
        path = given or ASSETS / "backbone.safetensors"
        if not path.is_file():
            raise UserError(f"no {path}: it is part of the project, check it out or install again")
        yield Line("ok", "weights", f"{path.name} (synthesised audio), shipped")
    else:
        yield from _mn04(given, setup.quick)


def _mn04(given: Path | None, quick: bool) -> Iterator[Line]:
    """mn04's weights: there, or to be fetched into a folder that can be written."""
    from esc_suite.run.download import SOURCES

    path, source = given or mn04_file(), SOURCES["mn04"]
    if given and not given.is_file():
        raise UserError(f"no mn04 weights at {given}: mend weights_path, or leave it empty to have them fetched")
    if not path.is_file():
        _require_writable(path.parent, f"put {source.name} somewhere and name it in weights_path ({source.url()})")
        text = f"no {path} yet: `make data PROFILE=lite` or the first run fetches it (4 MB, from {source.url()})"
        yield Line("warn", "weights", text)
    elif quick:
        yield Line("ok", "weights", f"{path} is there")
    else:
        import pooch

        from esc_utils.standins.mn04 import Mn04, load_mn04

        load_mn04(Mn04(10), path)
        published = pooch.file_hash(str(path)) == source.checksum.split(":")[1]
        text = f"{path} loads, " + ("sha256 as known" if published else "but is another file than the known one (sha256)")
        yield Line("ok" if published else "warn", "weights", text)


def memory(setup: Setup) -> Iterator[Line]:
    """Free memory, against what the workflow sets aside for a run."""
    if setup.quick:
        return
    import torch

    from esc_suite.run.plan import RUN_MB
    from esc_utils.memory import free_bytes

    free, need = free_bytes(torch.device("cpu")) / GB, RUN_MB / 1000
    text = f"{free:.1f} GB free, a run is given {need:g} GB"
    yield Line("ok" if free >= need else "warn", "memory", text + ("" if free >= need else ": close what is not needed"))


def outputs(setup: Setup) -> Iterator[Line]:
    folder = configuration.outputs_folder(setup.config)
    _require_writable(folder, "set outputs (OUTPUTS= for make) to a folder of yours")
    _require_writable(configuration.cache_folder(setup.config), "set outputs or cache_dir to a folder of yours")
    need = FREE_GB.get(setup.config.profile, 1)
    free = shutil.disk_usage(_existing(folder)).free / GB
    text = f"{folder} is writable, {free:.0f} GB free"
    if free < need:
        raise UserError(f"{text}, profile {setup.config.profile} needs about {need} GB: free some, or set outputs elsewhere")
    yield Line("ok", "outputs", text)


CHECKS = (python, lock, packages, torch, engine, place, device, memory, dataset, weights, outputs)


# --- what the checks stand on -----------------------------------------------------------------------------------------


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _driver(remedy: str = "") -> str:
    """What to add where torch sees no GPU, but the machine has some."""
    from esc_suite.run.gpus import DRIVER

    hidden = f" (CUDA_VISIBLE_DEVICES is '{given}')" if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None else ""
    count = len(list(DRIVER.glob("*")))
    return f", though the driver lists {count} GPUs{hidden}{remedy}" if count else ""


def _version_file(package: str) -> dict | None:
    """{version, cuda} out of a package's version.py, read as text: importing torch takes seconds."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        return None
    path = Path(spec.origin).with_name("version.py")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    version = re.search(r"^__version__ = '([^']+)'", text, re.M)
    cuda = re.search(r"^cuda\b.*= '([^']+)'", text, re.M)
    return {"version": version[1] if version else _installed(package), "cuda": cuda[1] if cuda else None}


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _require_writable(folder: Path, remedy: str) -> None:
    """Try it, for real: permission bits say little on network disks and for root. Leaves no new folder behind."""
    nearest = _existing(folder)
    probe = nearest / f".esc-check-{os.getpid()}"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as problem:
        raise UserError(f"cannot write to {nearest} ({problem.strerror}): {remedy}") from None


def _some(items: list[str], most: int = 3) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_suite check", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick", help="quick (default), lite or paper")
    parser.add_argument("--data", default="", metavar="DIR", help="folder of UrbanSound8K")
    parser.add_argument("--outputs", default="", metavar="DIR", help="where results go")
    parser.add_argument("--allow-partial", action="store_true", help="accept a dataset that lacks clips")
    parser.add_argument("--quick", action="store_true", help="only what takes a second or two")
    args = parser.parse_args(argv)
    try:
        overrides = {"data_dir": args.data} if args.data else {}
        overrides |= {"outputs": str(Path(args.outputs).resolve())} if args.outputs else {}
        overrides |= {"allow_partial": True} if args.allow_partial else {}
        lines = run(setup_of(args.profile, args.quick, **overrides))
    except UserError as problem:
        lines = [Line("fail", "parameters", str(problem))]
    width = max(len(line.name) for line in lines)
    for line in lines:
        print(f"{line.status:<4}  {line.name:<{width}}  {line.text}")
    return int(any(line.status == "fail" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
