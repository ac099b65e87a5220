"""python -m esc_suite label DATA: labels for the clips of a table that have none. label RUN clips...: new
audio."""

import argparse
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from esc_suite.inputs import open_dataset, table
from esc_suite.label import infer, networks, page, validate
from esc_suite.notebook import ready
from esc_suite.run.together import exit_with
from esc_utils import config as configuration
from esc_utils import features, paths
from esc_utils.config import RunConfig
from esc_utils.errors import UserError
from esc_utils.files import write_atomic
from esc_utils.paths import outputs_folder

EPILOG = """DATA: a CSV with the columns path, label (empty: to be labelled) and, where there are any,
recording and fold; or a folder with a clips.csv; or a folder with one folder of clips a class.
docs/own-clips.md says more."""


def main(argv: list[str] | None = None) -> int:
    """Labels for your own recordings."""
    parser = argparse.ArgumentParser(prog="python -m esc_suite label", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "data", metavar="DATA|RUN", help="your table or folder of clips; or, before clips, a finished run"
    )
    parser.add_argument("clips", nargs="*", help="audio files or folders to label with the run")
    parser.add_argument("--skip-bad", action="store_true", help="go on without files that cannot be used")
    train = parser.add_argument_group("with DATA")
    train.add_argument("--profile", default="quick", help="quick (default) or lite")
    train.add_argument("--outputs", default="", help="where results go; empty: outputs/")
    train.add_argument("--fast", action="store_true", help="the frozen probe alone, in seconds")
    train.add_argument("--seconds", type=float, help="length of a clip or window; default: the profile's")
    train.add_argument("--steps", type=int, help="steps of each training; default: the profile's")
    new = parser.add_argument_group("with RUN and clips")
    new.add_argument(
        "--hop", type=float, default=0.0, help="seconds between windows of long files; default: a window"
    )
    new.add_argument(
        "--to", default="", help="a CSV to write, resumed where it was cut off; without it: a line a clip"
    )
    options = parser.parse_args(argv)
    with exit_with(), _stoppable():
        if options.clips:
            return infer.label(
                networks.read_networks(options.data), options.clips, options.hop, options.to, options.skip_bad
            )
        if options.data and (paths.place(options.data) / networks.SUMMARY).is_file():
            raise UserError(f"{options.data} is a finished run: name the clips that it should label")
        own = {
            key: getattr(options, key) for key in ("seconds", "steps") if getattr(options, key) is not None
        }
        return label_table(
            options.data, options.profile, options.outputs, options.fast, options.skip_bad, **own
        )


@contextmanager
def _stoppable():
    """Ctrl-C is one line, too."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped: what is done is kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def settings(
    data: str, profile: str, outputs: str = "", skip_bad: bool = False, seconds=None, steps=None
) -> dict:
    """The knobs of every run on a table: where it lies, and its own folder of results,
    outputs/label/<name>."""
    table.read_table(data)  # an error in the table comes before all else
    at = paths.place(data).resolve()
    name = at.name if at.is_dir() else at.parent.name if at.name == "clips.csv" else at.stem
    root = paths.place(outputs or "outputs")
    found = {
        "dataset": "table", "data_dir": str(at), "allow_partial": skip_bad,
        "outputs": str(root / "label" / name),
        "cache_dir": str(root / "cache"), "labelled": "all_but_one", "steps_scale": "run",
    }  # fmt: skip
    if steps is not None and steps < 1:
        raise UserError(f"--steps {steps} must be at least 1: leave it out for the profile's number of steps")
    own = {"clip_seconds": seconds, "steps": steps}
    return found | {key: value for key, value in own.items() if value is not None}


def label_table(data: str, profile: str, outputs: str, fast: bool, skip_bad: bool, **own) -> int:
    """Answer with the frozen probe, then train, validate and answer again; writes labels.csv, labels.html,
    label.json."""
    common = settings(data, profile, outputs, skip_bad, **own)
    config = ready(configuration.for_run(profile, validate.PROBE, **common))
    folder = outputs_folder(config)
    _check_owner(folder, config.data_dir)
    dataset = open_dataset(config)
    _opening(dataset, config)
    folds = sorted(int(fold) for fold in set(dataset.clips["fold"]) if fold)
    store = features.open_store(config, dataset)
    methods = [validate.PROBE] if fast else list(validate.METHODS)
    if not (dataset.clips["class_id"] < 0).any() and not fast:
        print("no clip is without a label: FixMatch has nothing to learn from and is left out")
        methods.remove(validate.FIXMATCH)
    found, sums = {}, {}
    for method in methods:
        quiet = method == validate.PROBE
        found[method] = validate.every_fold(profile, method, folds, quiet, **common)
        sums[method] = validate.sums(found[method])
        judged = validate.judged(sums)
        said = validate.sentences(judged)
        if method in (validate.PROBE, methods[-1]):
            write(folder, judged, said, found[judged["trusted"]], dataset, store, config, data)
            print("\n".join(said), flush=True)
            print(
                f"labels: {folder / 'labels.csv'}; to check them by ear: {folder / 'labels.html'}", flush=True
            )
    return 0


def _check_owner(folder: Path, data: str) -> None:
    summary = folder / networks.SUMMARY
    try:
        owner = json.loads(summary.read_text(encoding="utf-8"))["data"] if summary.is_file() else data
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{summary} is damaged: delete it, and run the same command again") from None
    if owner != data:
        raise UserError(
            f"{folder} holds the labels of {owner}: give another --outputs, or rename your folder of clips"
        )


def _opening(dataset, config: RunConfig) -> None:
    clips = dataset.clips
    known = clips["class_id"] >= 0
    counts = clips.loc[known, "class_name"].value_counts()
    words = ", ".join(f"{name} {counts[name]}" for name in dataset.classes)
    print(
        f"{known.sum()} labelled clips ({words}), {(~known).sum()} clips or windows without a label",
        flush=True,
    )
    longer = (clips["duration"] > config.clip_seconds + 0.05) | clips[
        "offset"
    ].notna()  # offset: of a file over a minute
    cut = int((longer & known).sum())
    if cut:
        print(
            f"{cut} labelled clips are longer than {config.clip_seconds:g} s: what follows is not heard "
            "(--seconds)"
        )


def write(
    folder: Path, judged: dict, said: list[str], trusted: list, dataset, store, config: RunConfig, data: str
) -> None:
    """labels.csv, labels.html and label.json of the method that is trusted."""
    rows, prob = validate.unlabelled_scores(trusted, dataset)
    tau = configuration.for_run(config.profile, validate.FIXMATCH).tau
    labels = table_of(dataset.clips.iloc[rows], prob, dataset.classes, tau).sort_values(
        "confidence", kind="stable"
    )
    write_atomic(folder / "labels.csv", labels.to_csv(index=False, float_format="%.4f").encode())
    page.write(folder / "labels.html", labels, dataset, store, said)
    scores = {name: value["estimate"] for name, value in judged["accuracy"].items()}
    about = {
        "data": config.data_dir,
        "trusted": judged["trusted"],
        "accuracy": scores,
        "tau": tau,
        "sentences": said,
    }
    about["synthesised"] = dataset.synthesised
    about["runs"] = [run.folder.relative_to(folder).as_posix() for run in trusted]
    write_atomic(folder / networks.SUMMARY, (json.dumps(about, indent=1) + "\n").encode())


def table_of(clips, prob: np.ndarray, classes: tuple[str, ...], tau: float):
    """labels.csv: path, start and end (s), label, confidence, second guess, and whether the label is accepted
    at tau."""
    import pandas

    best = np.argsort(-prob, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(prob, best, axis=1).T
    names = np.array(classes)
    found = {
        "path": clips["file"].to_numpy(),
        "start": clips["start"].to_numpy(),
        "end": clips["end"].to_numpy(),
    }
    found |= {
        "label": names[best[:, 0]],
        "confidence": first,
        "second": names[best[:, 1]],
        "second_confidence": second,
    }
    return pandas.DataFrame(found | {"accepted": np.where(first >= tau, "yes", "no")}, index=clips.index)


if __name__ == "__main__":
    sys.exit(main())
