"""Copy the few rendered results that the README shows to outputs/evidence/, and put them into the README.

python workflow/evidence.py --profile quick      after `make tables`
"""

import argparse
import csv
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "outputs" / "evidence"
FIGURES = {
    "quick": {
        "confidence_mask": "fixmatch_tau075/fold1_seed0/confidence_mask",
        "mean_roc": "table5_roc",
    }
}


def collect(profile: str, outputs: Path) -> None:
    """Tables as CSV and the figures with their descriptions."""
    source, target = outputs / profile, EVIDENCE / profile
    target.mkdir(parents=True, exist_ok=True)
    for table in sorted((source / "tables").glob("table[2-5].csv")):
        shutil.copy(table, target)
    for name, path in FIGURES.get(profile, {}).items():
        for ending in (".png", ".json"):
            shutil.copy(source / "figures" / f"{path}{ending}", target / f"{name}{ending}")


def block(profile: str) -> str:
    """What the README shows of a profile, from the committed files alone."""
    folder = EVIDENCE / profile
    with (folder / "table5.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["experiment"]]
    lines = [
        f"Table 5 of profile `{profile}`: numbers of **{rows[0]['data']}**, mean of the folds [95% interval over folds].",
        "",
        "| Row | Accuracy, paper | Accuracy, here | AUC, paper | AUC, here | Folds |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = [
            f"{float(row[m]):.1f} [{float(row[f'{m}_low']):.1f}, {float(row[f'{m}_high']):.1f}]" for m in ("accuracy", "auc")
        ]
        lines.append(
            f"| {row['row']} | {row['paper_accuracy']} | {ours[0]} | {row['paper_auc']} | {ours[1]} | {row['folds']} |"
        )
    for name in FIGURES[profile]:
        about = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        lines += ["", f"![{about['alt']}](outputs/evidence/{profile}/{name}.png)", "", f"*{about['caption']}*"]
    return "\n".join(lines)


def insert(profile: str, readme: str) -> str:
    """The README with this profile's block replaced."""
    start, end = f"<!-- results:{profile} -->", f"<!-- /results:{profile} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    return pattern.sub(lambda _: f"{start}\n{block(profile)}\n{end}", readme)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="quick", choices=sorted(FIGURES))
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs")
    options = parser.parse_args()
    try:
        collect(options.profile, options.outputs)
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing: run `make tables PROFILE={options.profile}` first")
    readme = ROOT / "README.md"
    readme.write_text(insert(options.profile, readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
