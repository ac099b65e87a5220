"""What is finished and what is stale, told from the outputs alone, so that they may be moved or cleaned up.

A run is finished where its record holds the hash of today's knobs, code, data and weights, and its rendered
notebook the code cells of today's; a changed sentence makes nothing stale.
"""

import json
from pathlib import Path

from esc_suite.inputs import open_dataset
from esc_suite.records import provenance, runs
from esc_suite.run.needed_runs import notebook_of
from esc_utils import config, paths
from esc_utils.errors import UserError
from esc_utils.urbansound import Dataset

INJECTED = "injected-parameters"  # papermill's tag of the cell that it adds


class Finished:
    """Asks the outputs of one profile; opens each dataset once, and only where a record is compared with
    it."""

    def __init__(self, folder: Path):
        self.folder, self.datasets = folder, {}

    def run(self, name: str, knobs: config.RunConfig) -> bool:
        """Whether this run, "<experiment>/fold<k>_seed<s>", is finished."""
        folder = self.folder / "runs" / name
        if not (runs.complete(folder) and rendered(f"{notebook_of(knobs)}.ipynb", folder / "notebook.ipynb")):
            return False
        try:
            made = runs.read_metrics(folder)["provenance"]["identity"]
        except (UserError, KeyError):  # damaged: the run itself says so
            return False
        return made == provenance.identity(knobs, self.dataset(knobs).fingerprint)

    def store(self, knobs: config.RunConfig) -> bool:
        """Whether the feature store of this run lies in the cache."""
        from esc_utils.features import store_path  # and with it torch: seconds

        return store_path(knobs, self.dataset(knobs)).is_file()

    def dataset(self, knobs: config.RunConfig) -> Dataset:
        names = ("dataset", "data_dir", "synthetic_clips", "synthetic_seed", "clip_seconds")
        key = tuple(getattr(knobs, name) for name in names)
        if key not in self.datasets:
            self.datasets[key] = open_dataset(knobs)
        return self.datasets[key]


def rendered(name: str, made: Path) -> bool:
    """Whether `made` is notebooks/<name> as it is now, with outputs."""
    return made.is_file() and _cells(paths.project_root() / "notebooks" / name) == _cells(made)


def _cells(notebook: Path) -> list[str] | None:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = [
            cell
            for cell in cells
            if cell["cell_type"] == "code" and INJECTED not in cell["metadata"].get("tags", [])
        ]
        return ["".join(cell["source"]) for cell in code]
    except (OSError, ValueError, TypeError, KeyError):
        return None
