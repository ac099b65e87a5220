"""Which runs the tables of a profile need: an explicit list from params/tables.yaml (and, of Tables 6 and 7,
params/beyond.yaml), never a glob."""

from dataclasses import dataclass
from pathlib import Path

from esc_suite.inputs import open_dataset
from esc_suite.results.spec import read_spec
from esc_utils import config, paths
from esc_utils.errors import UserError
from esc_utils.urbansound import FOLDS

# The notebooks: that which papermill runs for a row, by its method; and those that are rendered once, with
# what they read.
NOTEBOOKS = {
    "supervised": "03_supervised_pann_baseline", "control": "03_supervised_pann_baseline",
    "probe": "03_supervised_pann_baseline", "fixmatch": "04_fixmatch_ablations",
}  # fmt: skip
SUITE = {
    "01_data_exploration": "data", "02_specaugment_visualization": "data",
    "05_ten_fold_aggregation": "tables", "06_tables_and_claims": "tables",
    "07_your_own_clips": "data",
}  # fmt: skip
BOOKS_BEYOND = {"08_beyond_the_paper": (6, 7)}  # rendered with these tables only
RUN_MB = 4000  # memory set aside for a run


@dataclass(frozen=True, order=True)
class Job:
    """One training run."""

    experiment: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Folder of its record, under runs/."""
        return f"{self.experiment}/fold{self.fold}_seed{self.seed}"


def tables(beyond: bool = False) -> dict[int, dict]:
    """The paper's tables by number: title, folds, rows; `beyond`: with ours, 6 and 7."""
    found = read_spec(beyond=beyond)["tables"]
    return {int(name.removeprefix("table")): table for name, table in found.items()}


def notebook_of(knobs) -> str:
    """The notebook that trains a run of these knobs (of a record too, which may be older than some of them).
    One that tau alone does not explain goes where all methods look alike; notebook 08 shows its labels."""
    own = getattr(knobs, "threshold", "fixed") != "fixed" or getattr(knobs, "unknown_classes", 0)
    return NOTEBOOKS["supervised" if own else knobs.method]


def sensitivity_jobs(folds: list[int], seeds: list[int]) -> list[Job]:
    """Runs of params/tables.yaml's `sensitivity`: every alternative and the default that it is compared
    with."""
    spec = read_spec()["sensitivity"]
    names = dict.fromkeys(row[key] for row in spec["rows"] for key in ("experiment", "baseline"))
    return jobs({"folds": spec["folds"], "rows": [{"experiment": name} for name in names]}, folds, seeds)


def whole_folds(base: config.RunConfig) -> dict[int, int]:
    """Training fold -> validation fold, for the folds that are whole on disk: (k mod 10) + 1 where all ten
    are there, the next whole fold otherwise [ledger 16]."""
    whole = list(FOLDS)
    if base.dataset == "urbansound8k":
        dataset = open_dataset(base)
        there = set(dataset.clips["fold"])
        whole = [fold for fold in FOLDS if fold in there and not dataset.missing.get(fold)]
    if len(whole) < 2:
        raise UserError(
            f"only {len(whole)} of ten folds is whole: a run needs one to train on and one to validate on"
        )
    return {fold: whole[(i + 1) % len(whole)] for i, fold in enumerate(whole)}


def jobs(table: dict, folds: list[int], seeds: list[int]) -> list[Job]:
    """Runs of one table of params/tables.yaml, and the probes that its rows are checked against, on those of
    its folds that are there."""
    experiments = dict.fromkeys(
        row[key] for row in table["rows"] for key in ("experiment", "probe") if row.get(key)
    )
    return [
        Job(e, fold, seed)
        for e in experiments
        for fold in table.get("folds", [1])
        if fold in folds
        for seed in seeds
    ]


def configs(profile: str, wanted: list[Job], valid: dict[int, int], **places) -> dict[Job, config.RunConfig]:
    """The config of each run; valid: training fold -> validation fold, as of `whole_folds`."""
    of = {
        name: config.for_run(profile, name, **places).model_dump()
        for name in {job.experiment for job in wanted}
    }
    found = {}
    for job in wanted:
        own = {"train_fold": job.fold, "valid_fold": valid[job.fold], "seed": job.seed}
        found[job] = config.merge(
            [(f"experiment {job.experiment}", of[job.experiment]), ("the workflow", own)]
        )
    return found


def parameter_files(profile: str, experiment: str) -> list[str]:
    """Paths of the layers of a run, relative to the project, for papermill's -f."""
    root = paths.project_root()
    return [str(Path(path).relative_to(root)) for path in config.layers_of(profile, experiment)]


def command(config, notebook: str, of_run: bool = False) -> str:
    """The papermill command that renders this notebook again, with the parameter files by name."""
    files = parameter_files(config.profile, config.experiment if of_run else "")
    words = [
        f"papermill notebooks/{notebook}.ipynb OUT.ipynb --engine esc",
        *(f"-f {file}" for file in files),
    ]
    if config.data_dir:
        words.append("-r data_dir DIR")  # the reader's own folder
    if of_run:
        words += [f"-p {knob} {getattr(config, knob)}" for knob in ("train_fold", "valid_fold", "seed")]
    return " ".join(words)
