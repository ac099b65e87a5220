"""Are two outputs folders the same results? Of a cluster and a laptop, of today and last week, killed and
undisturbed.

python tools/compare.py A B      A, B: outputs folders (outputs, or the OUTPUTS of make), all profiles in both

Compared: of every run metrics.json but for times, commit and where things lie, history.csv byte for byte, and
predictions.npz array by array, bit for bit; of the tables every file byte for byte. A difference is one line,
and so is what only one of the two has. Exit status 0: the same; 1: not, or nothing to compare.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from esc_suite.records import runs  # noqa: E402
from esc_suite.run.together import exit_with  # noqa: E402
from esc_utils.errors import UserError  # noqa: E402

RECORD = ("metrics.json", "history.csv", "predictions.npz")
TIMES = ("seconds", "clips_per_second")
CHECKOUT = ("commit", "dirty")  # of provenance: the code hash beside them says whether the method is the same
PLACES = ("outputs", "data_dir", "cache_dir", "weights_path")  # of the config


def differences(a: Path, b: Path) -> tuple[list[str], int, int]:
    """(lines, runs compared, table files compared); UserError where a folder has no results or a record is
    damaged."""
    found, counts = [], []
    for pattern in ("*/runs/*/*/metrics.json", "*/tables/*.*"):
        left, right = (_files(folder, pattern) for folder in (a, b))
        for name in sorted(left ^ right):
            found.append(f"only in {a if name in left else b}: {_shown(name)}")
        for name in sorted(left & right):
            found += _run(a, b, name.parent) if name.name == "metrics.json" else _bytes(a, b, name)
        counts.append(len(left & right))
    return found, *counts


def _files(folder: Path, pattern: str) -> set[Path]:
    if not any(folder.glob("*/runs/*/*/metrics.json")):
        raise UserError(
            f"no finished run in {folder}: give an outputs folder, the one that holds quick/, lite/ or paper/"
        )
    return {path.relative_to(folder) for path in folder.glob(pattern) if path.suffix != ".log"}


def _shown(name: Path) -> Path:
    return name.parent if name.name == "metrics.json" else name


def _bytes(a: Path, b: Path, name: Path) -> list[str]:
    left, right = ((folder / name).read_bytes().splitlines(keepends=True) for folder in (a, b))
    if left == right:
        return []
    lines = [
        number for number, pair in enumerate(zip(left, right, strict=False), start=1) if pair[0] != pair[1]
    ]
    return [f"{name}: line {lines[0] if lines else min(len(left), len(right)) + 1} differs"]


def _run(a: Path, b: Path, name: Path) -> list[str]:
    left, right = (runs.read(folder / name) for folder in (a, b))
    found = _values(f"{name}/metrics.json:", _plain(left.metrics), _plain(right.metrics))
    found += _bytes(a, b, name / "history.csv")
    for array in sorted({*left.predictions, *right.predictions}):
        pair = [run.predictions.get(array) for run in (left, right)]
        if any(one is None for one in pair):
            found.append(f"{name}/predictions.npz: {array} is in one of them only")
        elif (
            pair[0].shape != pair[1].shape
            or pair[0].dtype != pair[1].dtype
            or pair[0].tobytes() != pair[1].tobytes()
        ):
            found.append(f"{name}/predictions.npz: {array} differs")
    return found


def _plain(metrics: dict) -> dict:
    """metrics.json without what no two runs share."""
    kept = {key: value for key, value in metrics.items() if key not in TIMES}
    kept["provenance"] = {key: value for key, value in metrics["provenance"].items() if key not in CHECKOUT}
    kept["config"] = {key: value for key, value in metrics["config"].items() if key not in PLACES}
    return kept


def _values(where: str, left, right) -> list[str]:
    """One line a leaf that differs."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = [*left, *(key for key in right if key not in left)]
        return [line for key in keys for line in _values(f"{where} {key}", left.get(key), right.get(key))]
    return [] if _same(left, right) else [f"{where} {json.dumps(left)} against {json.dumps(right)}"]


def _same(left, right) -> bool:
    # NaN equals NaN, 1 is not 1.0
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    options = parser.parse_args(argv)
    with exit_with():
        found, records, tables = differences(options.a, options.b)
    print(
        "\n".join(
            [*found, f"{records} runs and {tables} table files compared: {len(found) or 'no'} differences"]
        )
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
