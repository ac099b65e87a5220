"""Is this machine ready? `python -m esc_suite check [--profile quick] [--data DIR] [--outputs DIR]
[--quick]`.

One line a check: ok, warn (it will run, but look at this) or fail (it will not run), each with its remedy.
Exit status 1 if anything fails. `--quick` leaves out what takes seconds: importing torch, decoding clips,
checksums of weights.
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

from packaging.requirements import Requirement
from packaging.version import Version

from esc_suite.run import check_place, limits
from esc_suite.run.check_base import Line, Setup, existing, first_few, require_writable
from esc_suite.run.check_data import dataset, weights
from esc_suite.run.requirements import lock_problems, needs, project, read_lock
from esc_utils import config as configuration
from esc_utils import paths
from esc_utils.errors import UserError

FREE_GB = {"quick": 1, "lite": 3, "paper": 8}  # feature store, run records, checkpoints
GB = 1e9


def setup_of(profile: str = "quick", quick: bool = False, **overrides) -> Setup:
    """The profile with knobs (data_dir, outputs, ...) laid over it. UserError where a parameter is at
    fault."""
    settings = configuration.from_files(
        configuration.layers_of(profile, ""), {"profile": profile} | overrides
    )
    return Setup(settings, paths.project_root(), quick)


def run(setup: Setup) -> list[Line]:
    """All checks, in the order of the data's way."""
    return [line for check in CHECKS for line in _lines(check, setup)]


def _lines(check: Callable[[Setup], Iterator[Line]], setup: Setup) -> Iterator[Line]:
    try:
        yield from check(setup)
    except UserError as problem:
        yield Line("fail", check.__name__, str(problem))
    except OSError as problem:
        text = f"{problem.filename} cannot be used ({problem.strerror}): mend its disk, or name another place"
        yield Line("fail", check.__name__, text)


# --- the checks: each yields lines, or raises UserError for a failure -----------------------------


def python(setup: Setup) -> Iterator[Line]:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {limits.cores()} cores"
    wanted = project(setup.root)["requires-python"]
    if not Requirement(f"python{wanted}").specifier.contains(platform.python_version()):
        yield Line(
            "fail", "python", f"{text}: this suite needs {wanted}, make the environment with such a Python"
        )
    else:
        yield Line("ok", "python", text)


def lock(setup: Setup) -> Iterator[Line]:
    """pyproject.toml against requirements.lock."""
    problems = lock_problems(setup.root)
    if problems:
        raise UserError(
            f"requirements.lock does not fit pyproject.toml ({'; '.join(problems)}): make the lock anew"
        )
    yield Line("ok", "lock", "requirements.lock satisfies pyproject.toml")


def packages(setup: Setup) -> Iterator[Line]:
    """What is installed, against the lock: a missing direct dependency fails, another version only warns."""
    locked = read_lock(setup.root / "requirements.lock")
    remedy = "install with `uv pip sync requirements.lock`"
    direct = needs(project(setup.root)["dependencies"])
    missing = [need.name for need in direct if _installed(need.name) is None]
    if missing:
        raise UserError(f"missing: {', '.join(missing)}; {remedy}")
    unfit = [
        f"{n.name} {_installed(n.name)} (needs {n.specifier})"
        for n in direct
        if _installed(n.name) not in n.specifier
    ]
    other = [
        f"{need.name} {found} (lock: {need.specifier})"
        for need in locked
        if (found := _installed(need.name)) is not None and found not in need.specifier
    ]
    if unfit:
        yield Line("warn", "packages", f"outside the supported versions: {first_few(unfit)}; {remedy}")
    elif other:
        yield Line("warn", "packages", f"not the tested versions: {first_few(other)}; {remedy}")
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
    if (
        sys.platform == "linux"
        and flavours[0] != flavours[1]
        and (build["cuda"] is None or "cpu" in flavours[1])
    ):
        raise UserError(f"{text}: torchaudio needs the same build (CPU or CUDA) as torch; {remedy}")
    if not setup.quick:
        try:
            import torchaudio  # noqa: F401
        except (ImportError, OSError) as problem:
            raise UserError(
                f"{text}: cannot be imported ({' '.join(str(problem).split())}); {remedy}"
            ) from None
    yield Line("ok", "torch", text)


def engine(setup: Setup) -> Iterator[Line]:
    if metadata.entry_points(group="papermill.engine", name="esc"):
        yield Line("ok", "engine", "papermill knows --engine esc")
    else:
        remedy = "install the project itself: `uv pip install --no-deps -e .`"
        yield Line(
            "warn", "engine", f"papermill does not know --engine esc (make and Snakemake use it); {remedy}"
        )


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
        text = f"CUDA: {card.name}, {card.total_memory / GB:.0f} GB" + (
            f", and {count - 1} more" if count > 1 else ""
        )
        if setup.config.profile == "paper" and card.total_memory < 15 * GB:
            yield Line("warn", "device", f"{text}: the paper profile is planned for 16 GB")
        else:
            yield Line("ok", "device", text)
    elif wanted.startswith("cuda"):
        raise UserError(
            f"device: {wanted}, but torch sees no CUDA device{_driver()}: set device: auto, or mend the "
            "driver"
        )
    elif setup.config.profile == "paper":
        yield Line("warn", "device", f"CPU: the paper profile takes weeks without a CUDA device{_driver()}")
    else:
        text = f"CPU, {torch.get_num_threads()} threads"
        yield Line("warn" if _driver() else "ok", "device", text + _driver(": mend the driver, or leave it"))


def memory(setup: Setup) -> Iterator[Line]:
    """Free memory, against what the workflow sets aside for a run."""
    if setup.quick:
        return
    from esc_suite.run.needed_runs import RUN_MB

    free, need = limits.free_memory() / GB, RUN_MB / 1000
    text = f"{free:.1f} GB free, a run is given {need:g} GB"
    yield Line(
        "ok" if free >= need else "warn",
        "memory",
        text + ("" if free >= need else ": close what is not needed"),
    )


def outputs(setup: Setup) -> Iterator[Line]:
    folder = paths.outputs_folder(setup.config)
    require_writable(folder, "set outputs (OUTPUTS= for make) to a folder of yours")
    require_writable(paths.cache_folder(setup.config), "set outputs or cache_dir to a folder of yours")
    need = FREE_GB.get(setup.config.profile, 1)
    free = shutil.disk_usage(existing(folder)).free / GB
    text = f"{folder} is writable, {free:.0f} GB free"
    if free < need:
        raise UserError(
            f"{text}, profile {setup.config.profile} needs about {need} GB: free some, or set outputs "
            "elsewhere"
        )
    yield Line("ok", "outputs", text)


CHECKS = (python, lock, packages, torch, engine, place, device, memory, dataset, weights, outputs)


# --- what the checks stand on ---------------------------------------------------------------------


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _driver(remedy: str = "") -> str:
    """What to add where torch sees no GPU, but the machine has some."""
    from esc_suite.run.gpus import DRIVER

    hidden = (
        f" (CUDA_VISIBLE_DEVICES is '{given}')"
        if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None
        else ""
    )
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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_suite check", description=__doc__)
    parser.add_argument("--profile", default="quick", help="quick (default), lite or paper")
    parser.add_argument("--data", default="", metavar="DIR", help="folder of UrbanSound8K")
    parser.add_argument("--outputs", default="", metavar="DIR", help="where results go")
    parser.add_argument("--allow-partial", action="store_true", help="accept a dataset that lacks clips")
    parser.add_argument("--quick", action="store_true", help="only what takes a second or two")
    args = parser.parse_args(argv)
    try:
        overrides = {"data_dir": args.data} if args.data else {}
        overrides |= {"outputs": args.outputs} if args.outputs else {}
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
