"""Outputs of profile `lite` on three folds as a finished run of it would leave them, but made up in a
second."""

import base64
import json
import sys
from pathlib import Path

import records

from esc_suite.run import needed_runs
from esc_suite.tables import render as tables_render

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from evidence_pages import GALLERY, SHOWN  # noqa: E402

MISSING = {"3": 538, "4": 990, "5": 936, "6": 823, "7": 838, "8": 806, "9": 816}
VALIDATES = {1: 2, 2: 10, 10: 1}
SIZES = {1: 873, 2: 888, 3: 387, 10: 837}


def write(outputs: Path, data: str) -> None:
    """Outputs of profile lite on three folds: records, tables, figures and notebooks, none of them
    trained."""
    tables = needed_runs.tables(beyond=True)
    table5 = {row.get("experiment") for row in tables[5]["rows"]}
    names = dict.fromkeys(row.get("experiment") for n in range(2, 8) for row in tables[n]["rows"])
    for at, name in enumerate(filter(None, names)):
        for fold in VALIDATES if name in table5 else (1,):
            pretrained = None if name.startswith("cnn14") else records.MN04
            run = records.write(outputs, name, 40 + 2 * at, fold, profile="lite", backbone=pretrained,
            steps=400,
                                valid_fold=VALIDATES[fold], data_dir=data)  # fmt: skip
            change(run.folder / "metrics.json", dataset_of(name, fold))
    tables_render.write(outputs, "lite")
    tables_render.write(outputs, "lite", ("table6", "table7"), with_claims=False)
    root = outputs / "lite"
    for place in {*SHOWN["lite"]["figures"].values(), *(picture for _, picture, *_ in GALLERY.values())}:
        (root / "figures" / place).parent.mkdir(parents=True, exist_ok=True)
        (root / "figures" / f"{place}.png").write_bytes(records.PNG)
        about = {
            "alt": f"Alt of {place}",
            "caption": f"Caption of {place}",
            "command": "papermill -r data_dir DIR",
        }
        (root / "figures" / f"{place}.json").write_text(json.dumps(about))
    (root / "notebooks").mkdir()
    for place, *_ in GALLERY.values():
        (root / f"{place}.ipynb").write_text(json.dumps(rendered(data)))


def dataset_of(name: str, fold: int):
    """A change of a record: what its run would have found of the dataset."""
    valid = VALIDATES[fold]

    def changed(metrics):
        metrics["provenance"]["dataset_missing"] = MISSING
        metrics["validation"]["clips"] = SIZES[valid]
        rest = {"clips": sum(SIZES.values()) - SIZES[fold] - SIZES[valid], "folds": [3], "recordings": 3}
        whole = name in ("pann_100", "pann_probe_100")
        metrics["transductive"] = None if whole else rest | {"last": metrics["validation"]["last"]}

    return changed


def change(path: Path, how) -> None:
    metrics = json.loads(path.read_text())
    how(metrics)
    path.write_text(json.dumps(metrics))


def rendered(data: str) -> dict:
    """A notebook as papermill leaves it."""
    links = "[next](05_ten_fold_aggregation.ipynb), [line](../docs/ledger.md#x)"
    words = f"640 clips/s from {data}/audio in {ROOT}/outputs\n"
    picture = {"image/png": base64.b64encode(records.PNG).decode() + "\n", "text/plain": ["<Image>"]}
    metadata = {"papermill": {"start_time": "2026", "duration": 1.0}, "tags": ["x"]}
    return {
        "cells": [
            {"cell_type": "markdown", "metadata": metadata, "source": [links]},
            {"cell_type": "code", "metadata": metadata, "source": [f'data_dir = "{data}"'],
             "execution_count": 1,
             "outputs": [{"output_type": "display_data", "metadata": {}, "data": picture},
                         {"output_type": "stream", "name": "stdout", "text": [words]}]},
        ],
        "metadata": {"papermill": {"output_path": f"{data}/x", "start_time": "2026",
                     "parameters": {"data_dir": data}}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip
