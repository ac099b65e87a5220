"""Rows of a profile on pairs of folds that no table reports: there knobs are chosen.

python tools/pairs.py --data DIR --rows pann_control,fixmatch_tau075 [--set tau=0.9] [--pairs 2-1,1-10,10-2]
                                        trains what is not yet trained, two runs at a time, a thread each
python tools/pairs.py --collect         takes the records into outputs/evidence/pairs/, beside those that are
                                        there, and writes its pairs.csv, a line a run

A pair k-v trains fold k and validates fold v; the rest is unlabelled. Each set of knobs laid over the profile
is a variant of its own. A run that is finished is not trained again. Exit status 1 where a run failed; the
others go on.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from esc_suite.records import runs  # noqa: E402
from esc_suite.run.together import exit_with  # noqa: E402
from esc_utils import config  # noqa: E402
from esc_utils.errors import UserError  # noqa: E402
from esc_utils.files import replace_all  # noqa: E402

# (k mod 10) + 1, and on the clips at hand the next whole fold, is what the tables report
PAIRS = "2-1,1-10,10-2"
EVIDENCE = ROOT / "outputs" / "evidence" / "pairs"
FILES = ("metrics.json", "history.csv")


def trained(profile: str, row: str, pair: tuple[int, int], knobs: dict, outputs: str, data: str) -> str:
    """Train one run in a process of its own; returns a line about it."""
    from esc_suite.records import train
    from esc_suite.run import download

    own = {"train_fold": pair[0], "valid_fold": pair[1], "outputs": outputs, "data_dir": data, "threads": 1}
    own["cache_dir"] = str(Path(outputs).parent / "cache")
    run = train.run(download.ready(config.for_run(profile, row, **(own | knobs))), quiet=True)
    last = run.metrics["validation"]["last"]
    name = f"{row} {pair[0]} -> {pair[1]}{''.join(f' {k}={v}' for k, v in knobs.items())}"
    return f"{name}: {last['accuracy']:.1f} / {last['auc_weighted']:.1f}, {run.metrics['seconds']:.0f} s"


def train_all(
    profile: str, rows: list[str], pairs: list[tuple[int, int]], knobs: dict, root: Path, data: str, jobs: int
):
    """Train every row on every pair; the number of runs that failed."""
    outputs = str(root / variant(knobs))
    failed = 0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(trained, profile, row, pair, knobs, outputs, data): f"{row} {pair}"
            for pair in pairs
            for row in rows
        }
        for done in as_completed(waiting):
            try:
                print(done.result(), flush=True)
            except UserError as error:
                failed += 1
                print(f"error: {waiting[done]}: {error}", file=sys.stderr, flush=True)
    return failed


def variant(knobs: dict) -> str:
    """Name of a set of knobs, as a folder: "as-is" where none is changed."""
    return "+".join(f"{key}={value}" for key, value in sorted(knobs.items())) or "as-is"


def collect(root: Path, target: Path) -> int:
    """Copy the records under `root`, without places of this machine, beside those that `target` holds
    already, and write pairs.csv, a line for each record in `target`; returns the number of runs."""
    import pandas
    from evidence import cleaner

    files = {}
    for folder in sorted(path.parent for path in root.glob("*/*/runs/*/fold*_seed*/metrics.json")):
        name = folder.relative_to(root).parts
        metrics = runs.read_metrics(folder)
        clean = cleaner([metrics], root / name[0])
        place = target / "runs" / name[0] / f"{name[3]}_{metrics['fold']}-{metrics['validation']['folds'][0]}"
        for file in FILES:
            if (folder / file).is_file():
                files[place / file] = clean((folder / file).read_text(encoding="utf-8")).encode()
    if not files:
        raise UserError(f"no finished run under {root}: train some first")
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_all(files)
    kept = sorted(path.parent for path in (target / "runs").glob("*/*/metrics.json"))
    lines = [{"variant": folder.parent.name} | line(folder, runs.read_metrics(folder)) for folder in kept]
    table = pandas.DataFrame(lines).sort_values(["variant", "experiment", "train", "validate"])
    replace_all({target / "pairs.csv": table.to_csv(index=False, float_format="%.4g").encode()})
    return len(lines)


def line(folder: Path, metrics: dict) -> dict:
    """What pairs.csv says of one run."""
    import pandas

    history = pandas.read_csv(folder / "history.csv")
    last, end = metrics["validation"]["last"], history.iloc[-1]
    return {
        "experiment": metrics["experiment"],
        "train": metrics["fold"],
        "validate": metrics["validation"]["folds"][0],
        "seed": metrics["seed"],
        "steps": metrics["steps"],
        "labelled_passes": metrics["labelled_passes"],
        "accuracy": last["accuracy"],
        "accuracy_by_recording": last["accuracy_by_recording"],
        "auc": last["auc_weighted"],
        "start_accuracy": history["valid_accuracy"].iloc[0],
        "best_accuracy": metrics["validation"]["best"]["accuracy"],
        "mask_rate": end["mask_rate"],
        "pseudo_accuracy": end["pseudo_accuracy"],
        "unlabelled_share": metrics["unlabelled_share"],
        "seconds": metrics["seconds"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="lite")
    parser.add_argument("--data", default="")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs" / "pairs")
    parser.add_argument("--pairs", default=PAIRS)
    parser.add_argument("--rows", default="")
    parser.add_argument("--set", dest="knobs", action="append", default=[], metavar="KNOB=VALUE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--collect", action="store_true")
    options = parser.parse_args()
    with exit_with():
        root = options.outputs.resolve()
        if options.collect:
            print(f"{collect(root, EVIDENCE)} runs in {EVIDENCE.relative_to(ROOT)}")
            return 0
        if not options.rows:
            raise UserError("no --rows: name experiments, as in --rows pann_control,fixmatch_tau075")
        pairs = [tuple(int(fold) for fold in pair.split("-")) for pair in options.pairs.split(",")]
        knobs = {key: yaml.safe_load(value) for key, value in (knob.split("=", 1) for knob in options.knobs)}
        data = str(Path(options.data).resolve()) if options.data else ""
        return int(
            train_all(options.profile, options.rows.split(","), pairs, knobs, root, data, options.jobs) > 0
        )


if __name__ == "__main__":
    sys.exit(main())
