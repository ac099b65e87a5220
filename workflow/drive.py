"""Start the workflow: check the machine, hold the lock, run Snakemake, say where the results are.

python workflow/drive.py --profile quick [--data DIR] [--outputs DIR] [--tables 2,3] [--jobs N] [--dry-run]
    --workflow-profile slurm: one Slurm job a run (docs/slurm.md); --jobs is then the most of them at a time
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

NODE_THREADS = 4  # of a cluster job that may use many
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from esc_suite.run import environment, gpus, plan, together, warm  # noqa: E402
from esc_utils import config, limits, locks, runs  # noqa: E402
from esc_utils.errors import UserError, exit_with  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--data", default="")
    parser.add_argument("--outputs", default="outputs")
    parser.add_argument("--tables", default="")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--sensitivity", action="store_true", help="the ledger's alternatives instead of the tables")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--workflow-profile", default="default")
    options = parser.parse_args()
    with together.one_line(), exit_with():
        return drive(options)


def drive(options) -> int:
    data = str(Path(options.data).expanduser().resolve()) if options.data else ""
    known = sorted(plan.tables())
    asked = set(options.tables.split(",")) if options.tables else set(map(str, known))
    if not asked <= set(map(str, known)):
        raise UserError(f"no such table in --tables {options.tables}: choose from {', '.join(map(str, known))}")
    wanted = sorted(map(int, asked))
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs {options.jobs} (JOBS= for make) is no number of jobs: give 1 or more, or leave it out")
    ways = sorted(path.parent.name for path in (ROOT / "workflow" / "profiles").glob("*/config.yaml"))
    if options.workflow_profile not in ways:
        raise UserError(f"no workflow profile '{options.workflow_profile}': choose from {', '.join(ways)}")
    places = {"outputs": options.outputs} | ({"data_dir": data} if data else {})
    base = config.for_run(options.profile, "", **places)
    plan.whole_folds(base)  # a missing dataset or fold is said here, in one line
    folder = config.outputs_folder(base)
    check = [sys.executable, "-m", "esc_suite", "check", "--quick"]
    check += ["--profile", options.profile, "--outputs", options.outputs]
    checked = subprocess.run([*check, *(["--data", data] if data else [])], cwd=ROOT, capture_output=True, text=True)
    if checked.returncode:
        failed = [line.split(maxsplit=2)[1:] for line in checked.stdout.splitlines() if line.startswith("fail ")]
        lines = [f"error: {name}: {text}" for name, text in failed]
        print("\n".join(lines) or checked.stderr, file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with locks.hold(ROOT / ".snakemake-driver.lock", "another `make tables` is running in this checkout: wait, or stop it"):
        forget_half_runs(folder)
        status = snakemake(options, data, wanted)
    if status == 0 and not options.dry_run:
        tell_sensitivity(folder) if options.sensitivity else tell(folder, wanted, known)
    return status


def forget_half_runs(folder: Path) -> None:
    """A rendered notebook whose record was deleted is no result: let the workflow make both again."""
    for notebook in folder.glob("runs/*/*/notebook.ipynb"):
        if not runs.complete(notebook.parent):
            notebook.unlink()


def snakemake(options, data: str, wanted: list[int]) -> int:
    tables = ",".join(map(str, wanted))
    values = [f"profile={options.profile}", f"outputs={options.outputs}", f"tables={tables}"]
    limit = ["--cores", str(options.jobs or limits.cores())]
    if options.workflow_profile != "default":
        values.append(f"threads={NODE_THREADS}")
        limit = ["--jobs", str(options.jobs)] if options.jobs else []
    words = [
        sys.executable, "-m", "snakemake", "-s", "workflow/Snakefile", *limit,
        "--workflow-profile", f"workflow/profiles/{options.workflow_profile}", "--logger", "esc",
        "--config", *values, *([f"data={data}"] if data else []),
    ]  # fmt: skip
    if options.workflow_profile == "default":
        # One run a GPU at a time, and no more runs at once than the memory holds; one in any case.
        most = {"gpu": max(1, len(gpus.devices())), "mem_mb": max(plan.RUN_MB, limits.memory() // limits.MIB)}
        words += ["--resources", *(f"{name}={value}" for name, value in most.items())]
    if options.dry_run:
        words.append("--dry-run")
    if options.sensitivity:
        words += ["--", "sensitivity"]
    own = environment.settled(ROOT / ".snakemake" / "home")
    own |= {
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workflow"), os.environ.get("PYTHONPATH", "")]).rstrip(":"),
    }
    unlock = [*words[:5], "--unlock", "--cores", "1", "--config", *values, *([f"data={data}"] if data else [])]
    if any((ROOT / ".snakemake" / "locks").glob("*")):  # ours is held, so these are of a killed one
        subprocess.run(unlock, cwd=ROOT, env=own, capture_output=True)
    if options.dry_run:
        return subprocess.run(words, cwd=ROOT, env=own).returncode
    if options.workflow_profile != "default":
        return together.run(words, seconds=60, cwd=ROOT, env=own)  # enough to take back what waits in the queue
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
        print(f"Notebooks  {folder}/notebooks/, and one a run in {folder}/runs/<experiment>/fold<k>_seed<s>/notebook.ipynb")
    else:
        print(f"Notebooks  {folder}/runs/<experiment>/fold<k>_seed<s>/notebook.ipynb")


if __name__ == "__main__":
    sys.exit(main())
