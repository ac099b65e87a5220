"""Start the workflow: check the machine, hold the lock, run Snakemake, say where the results are.

python workflow/drive.py --profile quick [--data DIR] [--outputs DIR] [--tables 2,3] [--jobs N] [--dry-run]
    --workflow-profile slurm: one Slurm job a run (docs/slurm.md); --jobs is then the most of them at a time
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from shlex import quote

NODE_THREADS = 4  # of a cluster job that may use many
SETTINGS = ".workflow.json"  # in outputs/<profile>: what Snakemake is told
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from esc_suite.records import provenance  # noqa: E402
from esc_suite.run import environment, gpus, limits, needed_runs, together, warm  # noqa: E402
from esc_suite.run.finished import Finished, rendered  # noqa: E402
from esc_suite.run.together import exit_with  # noqa: E402
from esc_utils import config, locks, paths  # noqa: E402
from esc_utils.errors import UserError  # noqa: E402
from esc_utils.files import write_atomic  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--data", default="")
    parser.add_argument("--outputs", default="outputs")
    parser.add_argument("--tables", default="")
    parser.add_argument("--jobs", type=number_of_jobs)
    parser.add_argument(
        "--sensitivity", action="store_true", help="the ledger's alternatives instead of the tables"
    )
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--workflow-profile", default="default")
    with together.one_line(), exit_with():
        return drive(parser.parse_args())


def number_of_jobs(text: str) -> int:
    """--jobs; UserError where it is none."""
    if not text.isdecimal() or int(text) < 1:
        raise UserError(
            f"--jobs {text} (JOBS= for make) is no number of jobs: give 1 or more, or leave it out"
        )
    return int(text)


def drive(options) -> int:
    known, every = (sorted(needed_runs.tables(beyond=which)) for which in (False, True))
    asked = set(options.tables.split(",")) if options.tables else set(map(str, known))
    if not asked <= set(map(str, every)):
        raise UserError(
            f"no such table in --tables {options.tables}: choose from {', '.join(map(str, every))}"
        )
    wanted = sorted(map(int, asked))
    ways = sorted(path.parent.name for path in (ROOT / "workflow" / "profiles").glob("*/config.yaml"))
    if options.workflow_profile not in ways:
        raise UserError(f"no workflow profile '{options.workflow_profile}': choose from {', '.join(ways)}")
    places = {"outputs": options.outputs} | ({"data_dir": options.data} if options.data else {})
    base = config.for_run(options.profile, "", **places)
    folder = paths.outputs_folder(base)
    passable(folder)
    valid = needed_runs.whole_folds(base)  # a missing dataset or fold is said here, in one line
    check = [sys.executable, "-m", "esc_suite", "check", "--quick"]
    check += [f"--profile={options.profile}", f"--outputs={options.outputs}", f"--data={options.data}"]
    checked = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    if checked.returncode:
        failed = [
            line.split(maxsplit=2)[1:] for line in checked.stdout.splitlines() if line.startswith("fail ")
        ]
        lines = [f"error: {name}: {text}" for name, text in failed]
        print("\n".join(lines) or checked.stderr, file=sys.stderr)
        return 1
    for line in checked.stdout.splitlines():
        # Clips that are missing are never left out without a word
        if line.split()[:2] == ["warn", "dataset"]:
            print(f"note: {line.split(maxsplit=2)[2]}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with locks.hold(
        ROOT / ".snakemake-driver.lock", "another `make tables` is running in this checkout: wait, or stop it"
    ):
        stale = hand_over(options, base, valid, places, wanted)
        status = snakemake(options, folder, stale)
    if status == 0 and not options.dry_run:
        tell_sensitivity(folder) if options.sensitivity else tell(folder, wanted, known)
    return status


def passable(folder: Path) -> None:
    """UserError for the few names that cannot be handed on as they are."""
    if marks := sorted(set("{}") & set(str(folder))):
        raise UserError(
            f"outputs {str(folder)!r} has {' '.join(marks)} in its name, which Snakemake reads: name it "
            "without"
        )
    if os.pathsep in str(ROOT):
        raise UserError(
            f"the checkout's own path {str(ROOT)!r} has '{os.pathsep}' in it, which parts paths: move it"
        )


def gpus_a_run(profile: str, device: str, slurm: bool) -> int:
    """One where this machine has any. The machine that submits to a cluster has none of the cluster's: there
    the paper's scale asks for one in any case, on part of the data, too."""
    asks = profile == "paper" or (slurm and profile == "paper-partial")
    return int(device != "cpu" and (asks or bool(gpus.devices())))


def hand_over(options, base, valid: dict[int, int], places: dict, wanted: list[int]) -> list[str]:
    """Write what Snakemake is to do into one file (SETTINGS). Returns the files that are stale, whatever
    their times say."""
    folder, tables = paths.outputs_folder(base), needed_runs.tables(beyond=True)
    jobs = {n: needed_runs.jobs(tables[n], list(valid), base.seeds) if n > 1 else [] for n in tables}
    jobs["sensitivity"] = needed_runs.sensitivity_jobs(list(valid), base.seeds)
    asked = ["sensitivity"] if options.sensitivity else wanted
    every = sorted({job for n in asked for job in jobs[n]})
    knobs = needed_runs.configs(options.profile, every, valid, **places)
    given = " ".join(f"-r {key} {quote(value)}" for key, value in places.items())
    slurm = options.workflow_profile != "default"
    cores = NODE_THREADS if slurm else options.jobs or limits.cores()
    gpu = gpus_a_run(options.profile, base.device, slurm)
    settings = {
        "out": str(folder), "wanted": wanted, "tables": sorted(needed_runs.tables()),
        "books": needed_runs.SUITE,
        "beyond": [name for name, of in needed_runs.BOOKS_BEYOND.items() if set(of) & set(wanted)],
        "records": {n: [job.name for job in jobs[n]] for n in jobs},
        "runs": {job.name: run_settings(options.profile, job, of, given) for job, of in knobs.items()},
        "place": f"--outputs={quote(options.outputs)} --profile={quote(options.profile)}",
        "data": f"--data={quote(options.data)}", "given": f"{layers(options.profile, '')} {given}",
        "threads": cores, "run_threads": base.threads or cores, "mem_mb": needed_runs.RUN_MB, "gpus": gpu,
        "on_gpu": f"{quote(sys.executable)} -m "
                  "esc_suite.run.gpus" if gpu and base.device in ("auto", "cuda") else "",
    }  # fmt: skip
    write_atomic(folder / SETTINGS, json.dumps(settings, indent=1).encode())
    known = Finished(folder)
    notebooks = {job.name: folder / "runs" / job.name / "notebook.ipynb" for job in knobs}
    left = {job: of for job, of in knobs.items() if not known.run(job.name, of)}
    stale = [notebooks[job.name] for job in left if notebooks[job.name].exists()]
    for of in {of.network: of for of in left.values()}.values():
        stamp = folder / ".stores" / of.network
        if stamp.exists() and not (options.dry_run or known.store(of)):
            # not forced: Snakemake forgets what it is to force behind an ancient input that is
            stamp.unlink()
    shown = [*(needed_runs.SUITE if wanted == settings["tables"] else ()), *settings["beyond"]]
    if not options.sensitivity:
        books = {folder / "notebooks" / f"{name}.ipynb": f"{name}.ipynb" for name in shown}
        stale += [path for path, name in books.items() if path.exists() and not rendered(name, path)]
    return [str(path) for path in [*stale, *renew_reporting(options, base, asked)]]


def run_settings(profile: str, job: needed_runs.Job, knobs, given: str) -> dict:
    own = f"-p train_fold {job.fold} -p valid_fold {knobs.valid_fold} -p seed {job.seed}"
    notebook = f"notebooks/{needed_runs.notebook_of(knobs)}.ipynb"
    return {
        "notebook": notebook,
        "network": knobs.network,
        "given": f"{layers(profile, job.experiment)} {given} {own}",
    }


def layers(profile: str, experiment: str) -> str:
    return " ".join(f"-f {quote(file)}" for file in needed_runs.parameter_files(profile, experiment))


def renew_reporting(options, base, asked: list) -> list[Path]:
    """What tables, claims, rendered notebooks and report are made by, as a file that is written anew when it
    changes. A dry run leaves it as it is, and gets the tables that are stale by it."""
    path = paths.outputs_folder(base) / ".reporting"
    made_by = [
        provenance.folder_hash(ROOT / "esc_suite", "tables/assets/*.j2"),
        provenance.code_hash(),
        base.hash,
    ]
    now = config.digest(made_by).encode()
    if path.exists() and (path.read_bytes() == now or options.dry_run):
        tables = [path.parent / "tables" / f"{'' if n == 'sensitivity' else 'table'}{n}.csv" for n in asked]
        return [table for table in tables if path.read_bytes() != now and table.exists()]
    write_atomic(path, now)
    return []


def snakemake(options, folder: Path, stale: list[str]) -> int:
    limit = ["--cores", str(options.jobs or limits.cores())]
    if options.workflow_profile != "default":
        limit = ["--jobs", str(options.jobs)] if options.jobs else []
    start = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        "workflow/Snakefile",
        "--configfile",
        str(folder / SETTINGS),
    ]
    words = [
        *start,
        *limit,
        "--workflow-profile",
        f"workflow/profiles/{options.workflow_profile}",
        "--logger",
        "esc",
    ]
    if options.workflow_profile == "default":
        # One run a GPU at a time, and no more runs at once than the memory holds; one in any case.
        most = {
            "gpu": max(1, len(gpus.devices())),
            "mem_mb": max(needed_runs.RUN_MB, limits.memory() // limits.MIB),
        }
        words += ["--resources", *(f"{name}={value}" for name, value in most.items())]
    if stale:
        words += ["--forcerun", *stale]
    if options.dry_run:
        words.append("--dry-run")
    words += ["--", "sensitivity" if options.sensitivity else "all"]
    own = environment.settled(ROOT / ".snakemake" / "home")
    own |= {
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT), str(ROOT / "workflow"), os.environ.get("PYTHONPATH", "")]
        ).rstrip(":"),
    }
    if any((ROOT / ".snakemake" / "locks").glob("*")):  # ours is held, so these are of a killed one
        subprocess.run([*start, "--unlock", "--cores", "1"], cwd=ROOT, env=own, capture_output=True)
    if options.dry_run:
        return subprocess.run(words, cwd=ROOT, env=own).returncode
    if options.workflow_profile != "default":
        # Enough to take back what waits in the queue
        return together.run(words, seconds=60, cwd=ROOT, env=own)
    own["OMP_NUM_THREADS"] = str(config.for_run(options.profile, "").threads or limits.cores())
    with warm.kernels(cwd=ROOT, env=own) as server:
        return together.run(words, cwd=ROOT, env=own | server)


def shown(folder: Path) -> Path:
    return folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder


def tell_sensitivity(folder: Path) -> None:
    print(f"\n{(folder / 'tables' / 'sensitivity.md').read_text(encoding='utf-8')}")
    print(f"Table  {shown(folder)}/tables/sensitivity.md (also .csv, .html)")


def tell(folder: Path, wanted: list[int], known: list[int]) -> None:
    folder = shown(folder)
    print(f"\nTables     {', '.join(f'{folder}/tables/table{n}.md' for n in wanted)} (also .csv, .html)")
    if wanted == known:
        print(f"Report     {folder}/report/index.html (open it in a browser)")
        print(
            f"Notebooks  {folder}/notebooks/, and one a run in "
            f"{folder}/runs/<experiment>/fold<k>_seed<s>/notebook.ipynb"
        )
    else:
        print(f"Notebooks  {folder}/runs/<experiment>/fold<k>_seed<s>/notebook.ipynb")


if __name__ == "__main__":
    sys.exit(main())
