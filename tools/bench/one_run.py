"""What a run's notebook costs beside its training: a supervised run of `quick`, as in `make tables`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from esc_suite.run.warm import kernels

ROOT = Path(__file__).resolve().parents[2]


def take(folder: Path, seed: int, variables: dict, parameters: list[str]) -> tuple[float, float]:
    """Seconds of one run: from the call of papermill to its end, and of its training as the record has it."""
    outputs = folder / str(seed)
    files = [f"params/{name}.yaml" for name in ("base", "profiles/quick", "experiments/pann_10")]
    words = [sys.executable, "-m", "papermill", "notebooks/03_supervised_pann_baseline.ipynb"]
    words += [str(folder / f"{seed}.ipynb"), "--engine", "esc", "--no-progress-bar", "-k", "python3"]
    words += [word for name in files for word in ("-f", name)]
    given = [f"seed {seed}", f"outputs {outputs}", f"cache_dir {folder / 'cache'}", *parameters]
    words += [word for pair in given for word in ("-p", *pair.split(" ", 1))]
    began = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"the run failed:\n{done.stderr[-2000:]}")
    (record,) = outputs.rglob("metrics.json")
    return took, json.loads(record.read_text())["seconds"]


def measure(repeats: int, parameters: list[str] | None = None) -> list[tuple[float, float]]:
    """(seconds in all, of training) of some runs with a warm kernel, after one that builds the store."""
    with tempfile.TemporaryDirectory(prefix="esc-") as folder, kernels(cwd=ROOT) as variables:
        found = [take(Path(folder), seed, variables, parameters or []) for seed in range(1 + repeats)]
    return found[1:]
