"""Train the rows of a table again in a fresh folder and compare every number with the committed evidence.

python tools/reproduce.py --profile lite --data DIR [--tables 2,3]
    exit status 0: identical; 1: a line per difference
    --compare-only DIR: compare a folder of outputs that is there already, train nothing

Compared: scores, history and table cells, exactly. Not compared: times, and where and by which commit a run
was made.
"""

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import evidence  # noqa: E402
import evidence_pages as pages  # noqa: E402

from esc_suite.run import needed_runs  # noqa: E402
from esc_suite.run.together import exit_with  # noqa: E402
from esc_utils import config, paths  # noqa: E402
from esc_utils.errors import UserError  # noqa: E402

NOT_COMPARED = ("seconds", "clips_per_second", "provenance", "config")
DONE = "compared"  # a folder with this file is of a finished reproduction: the next one starts anew
DIGITS = (
    "What a run draws (batches, stripes, mixup) depends on its seed and fold alone. Its last digits also "
    "depend on the type "
    "of CPU, the number of threads and the versions of torch and NumPy, and from the last digits a training "
    "grows apart: on "
    "another type of CPU or with other versions expect differences, well inside the intervals."
)


@dataclass
class Comparison:
    """What was compared: files, numbers and other cells, and a line for each that differs."""

    files: int = 0
    values: int = 0
    lines: list[str] = field(default_factory=list)
    knobs: dict[str, None] = field(default_factory=dict)  # that the runs of both sides do not share, in order
    contexts: dict[str, set] = field(default_factory=dict)  # of the runs of a side: versions and the like

    def cell(self, where: str, committed, here) -> None:
        """Take one value of each side in."""
        self.values += 1
        if not same(committed, here):
            gap = ""
            if all(isinstance(v, int | float) for v in (committed, here)):
                gap = f" ({here - committed:+.3g})"
            self.lines.append(f"{where}: committed {committed}, here {here}{gap}")


def same(a, b) -> bool:
    """Equality to the last digit; not-a-number equals itself."""
    both = isinstance(a, float) and isinstance(b, float)
    return a == b or (both and math.isnan(a) and math.isnan(b))


def compare(committed: Path, outputs: Path, numbers: list[int], with_claims: bool = False) -> Comparison:
    """Compare the committed evidence of a profile with outputs/<profile>, for these tables and their runs."""
    found = Comparison()
    for number in numbers:
        name = f"table{number}.csv"
        _table(found, name, committed / name, outputs / "tables" / name)
    for side, folder in (("committed", committed), ("here", outputs)):
        found.contexts[side] = {
            context(_json(folder / "runs" / run / "metrics.json")) for run in wanted(folder, numbers)
        }
    for run in wanted(committed, numbers):
        _run(found, run, committed / "runs" / run, outputs / "runs" / run)
    if with_claims and (committed / "claims.json").is_file():
        found.files += 1
        sides = (_json(folder) for folder in (committed / "claims.json", outputs / "tables" / "claims.json"))
        _nested(found, "claims.json", *({c["id"]: c for c in side or []} for side in sides))
    return found


def wanted(folder: Path, numbers: list[int]) -> list[str]:
    """Finished runs of these tables in a folder, "<experiment>/fold<k>_seed<s>"."""
    rows = evidence.of_tables(numbers)
    paths = sorted(path.parent for path in (folder / "runs").glob("*/fold*_seed*/metrics.json"))
    return [
        f"{p.parent.name}/{p.name}" for p in paths if (p.parent.name, int(p.name[4:].split("_")[0])) in rows
    ]


def _table(found: Comparison, name: str, committed: Path, here: Path) -> None:
    found.files += 1
    if not here.is_file():
        found.lines.append(f"{name}: not made")
        return
    sides = [_csv(committed), _csv(here)]
    if len(sides[0]) != len(sides[1]):
        found.lines.append(f"{name}: committed {len(sides[0])} rows, here {len(sides[1])}")
    for ours, theirs in zip(*sides, strict=False):
        for column, value in ours.items():
            found.cell(
                f"{name}, {ours.get('row') or ours.get('epoch')}, {column}",
                _number(value),
                _number(theirs.get(column)),
            )


def _run(found: Comparison, name: str, committed: Path, here: Path) -> None:
    sides = [_json(folder / "metrics.json") for folder in (committed, here)]
    found.files += 1
    if sides[1] is None:
        found.lines.append(f"{name}: not trained")
        return
    _nested(found, name, *({k: v for k, v in side.items() if k not in NOT_COMPARED} for side in sides))
    for key in dict.fromkeys([*sides[0]["config"], *sides[1]["config"]]):
        ours, theirs = (side["config"].get(key) for side in sides)
        if key not in config.PLACES and ours != theirs:
            found.knobs[f"knob {key}: committed {ours}, here {theirs}"] = None
    _table(found, f"{name}, history.csv", committed / "history.csv", here / "history.csv")


def context(metrics: dict) -> str:
    """What the last digits of a run depend on, in words."""
    made = metrics["provenance"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    words = [f"{made['device']}, {made['precision']}, {made['threads']} threads", versions]
    return "; ".join([*words, f"code {made['code_hash']}", f"dataset {made['dataset_fingerprint']}"])


def _nested(found: Comparison, where: str, committed, here) -> None:
    if isinstance(committed, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*committed, *here]):
            _nested(found, f"{where}, {key}", committed.get(key), here.get(key))
    elif isinstance(committed, list) and isinstance(here, list) and len(committed) == len(here):
        for at, pair in enumerate(zip(committed, here, strict=True)):
            _nested(found, f"{where}, {at}", *pair)
    else:
        found.cell(where, committed, here)


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _csv(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def report(found: Comparison, committed: Path) -> str:
    """The comparison in words: a line per difference, and what both sides were made with."""
    about = f"{found.values:,} values in {found.files} files"
    if not found.lines:
        return "\n".join([*found.knobs, f"identical to the committed evidence: {about}"])
    lines = [*found.lines, "", f"different: {len(found.lines):,} of {about}", *found.knobs]
    for side, machine in (("committed", _json(committed / "machine.json")), ("here", evidence.machine())):
        words = [", ".join(map(str, machine.values()))] if machine else []
        lines += [
            f"{side}: {'; '.join([made, *words])}" for made in sorted(found.contexts[side] or {"no record"})
        ]
    return "\n".join([*lines, DIGITS])


def train(options, outputs: str, tables: str) -> None:
    """Run the workflow into a folder of its own, relative to the project; UserError where it fails."""
    if (paths.place(outputs) / DONE).is_file():
        shutil.rmtree(paths.place(outputs))
    words = [
        f"--profile={options.profile}",
        f"--outputs={outputs}",
        f"--data={options.data}",
        f"--tables={tables}",
    ]
    words += [f"--jobs={options.jobs}"] if options.jobs else []
    if subprocess.run([sys.executable, "workflow/drive.py", *words], cwd=ROOT).returncode:
        raise UserError(f"not every run of {outputs} ended: the same command goes on where it stopped")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="quick", choices=sorted(pages.SHOWN))
    parser.add_argument("--data", default="", help="folder of UrbanSound8K")
    parser.add_argument(
        "--tables", default="", help="comma-separated numbers (default: 2 to 5, and the claims)"
    )
    parser.add_argument("--outputs", default="")
    parser.add_argument("--jobs", type=int, help="runs at a time (default: as many as cores)")
    parser.add_argument(
        "--compare-only", default="", metavar="DIR", help="an outputs folder: compare it, train nothing"
    )
    options = parser.parse_args(argv)
    with exit_with():
        return reproduce(options)


def reproduce(options) -> int:
    committed = pages.EVIDENCE / options.profile
    known = [n for n in sorted(needed_runs.tables()) if (committed / f"table{n}.csv").is_file()]
    if not known:
        raise UserError(f"no committed evidence of profile {options.profile}")
    try:
        numbers = sorted({int(n) for n in options.tables.split(",")}) if options.tables else known
    except ValueError:
        numbers = [0]
    if not set(numbers) <= set(known):
        raise UserError(f"no committed table {options.tables}: choose from {', '.join(map(str, known))}")
    outputs = options.compare_only
    if not outputs:
        name = f"table{'-'.join(map(str, numbers))}" if options.tables else "all"
        outputs = f"{options.outputs or 'outputs'}/reproduced/{options.profile}-{name}"
        train(options, outputs, ",".join(map(str, numbers)) if options.tables else "")
    outputs = paths.place(outputs)
    found = compare(committed, outputs / options.profile, numbers, with_claims=not options.tables)
    if not options.compare_only:
        (outputs / DONE).touch()
    print(report(found, committed))
    return 1 if found.lines else 0


if __name__ == "__main__":
    sys.exit(main())
