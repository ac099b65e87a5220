"""What every notebook does alike: where its figures go, and the command and provenance that stand under each."""

from functools import partial

from . import config as knobs
from . import figures, plan, provenance

RUN_DPI = 110  # a table is dozens of runs with a dozen figures each; the suite's own figures are drawn finer


def say(*sentences: str) -> None:
    """Show sentences with computed numbers as one paragraph of Markdown."""
    from IPython.display import Markdown, display

    display(Markdown(" ".join(sentences)))


def keeper(config, notebook: str, dataset=None, run=None):
    """`figures.save` for one notebook: call it with figure, name, alt and caption; it returns the picture to show.

    config: RunConfig; notebook: file name without .ipynb; dataset: where the figures are about the data; run: where they
    are about one run, whose record then gives the provenance and whose figures get a folder of their own.
    """
    folder = knobs.outputs_folder(config) / "figures"
    if run is None:
        where, dpi = _provenance(config, dataset), 200
    else:
        folder = folder / config.experiment / f"fold{config.train_fold}_seed{config.seed}"
        where, dpi = run.metrics["provenance"], RUN_DPI
    return partial(
        figures.save, folder=folder, command=command(config, notebook, run is not None), provenance=where,
        formats=tuple(config.figure_formats), dpi=dpi,
    )  # fmt: skip


def command(config, notebook: str, of_run: bool = False) -> str:
    """The papermill command that renders this notebook again, with the parameter files by name."""
    files = plan.parameter_files(config.profile, config.experiment if of_run else "")
    words = [f"papermill notebooks/{notebook}.ipynb OUT.ipynb --engine esc", *(f"-f {file}" for file in files)]
    if config.data_dir:
        words.append("-r data_dir DIR")  # the reader's own folder
    if of_run:
        words += [f"-p {knob} {getattr(config, knob)}" for knob in ("train_fold", "valid_fold", "seed")]
    return " ".join(words)


def _provenance(config, dataset) -> dict:
    commit, dirty = provenance.commit()
    about = {"commit": commit, "dirty": dirty, "config_hash": config.hash, "code_hash": provenance.code_hash()}
    if dataset is not None:
        about["dataset_fingerprint"] = dataset.fingerprint
    return about | {"versions": provenance.versions()}
