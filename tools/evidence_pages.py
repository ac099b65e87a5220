"""What README.md and docs/results-<profile>.md show of a profile, made from outputs/evidence/ alone, never typed."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import differences

from esc_suite.results.spec import read_spec
from esc_suite.tables.claims import OPEN, summary
from esc_suite.tables.render import MARKS
from esc_utils.urbansound import FOLDS

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "outputs" / "evidence"
RUN_FIGURES = {
    "supervised_learning_curves": "pann_table2/fold1_seed0/learning_curves",
    "supervised_confusion_matrix": "pann_table2/fold1_seed0/confusion_matrix",
} | {
    f"tau{tau}_{name}": f"fixmatch_tau{tau}/fold1_seed0/{name}"
    for tau in ("095", "075")
    for name in ("confidence_mask", "pseudo_labels", "pseudo_labels_by_class")
}
REAL = {
    # name in the evidence -> name under outputs/<profile>/figures/
    "figures": {
        "tables_forest": "tables_forest",
        "claims": "claims",
        "table5_folds": "table5_folds",
        "mean_roc": "table5_roc",
        "threshold_comparison": "threshold_comparison",
    }
    | RUN_FIGURES,
    "notebooks": ("pann_table2/fold1_seed0", "fixmatch_tau075/fold1_seed0"),
    "readme_tables": (2, 5),
    "readme_figures": ("tables_forest",),
    "page": True,
}
SHOWN = {
    "quick": {
        "figures": {"confidence_mask": "fixmatch_tau075/fold1_seed0/confidence_mask", "mean_roc": "table5_roc"},
        "notebooks": (),
        "readme_tables": (5,),
        "readme_figures": ("confidence_mask", "mean_roc"),
        "page": False,
    },
    "lite": REAL,
    "paper-partial": {
        "figures": {name: place for name, place in RUN_FIGURES.items() if re.match("tau075_(conf|.*by_class)", name)},
        "notebooks": (),  # its runs were made on another machine, so none is rendered
        "readme_tables": (3,),
        "readme_figures": ("tau075_confidence_mask",),
        "page": True,
    },
    "paper": REAL,
}
VERDICTS = {
    "supported": "✓ supported",
    "contradicted": "✗ contradicted",
    "undecided": "? undecided",
    "blocked": "– blocked",
}
NOTHING = "—"


def write() -> list[Path]:
    """Write README.md and the pages of all profiles that have evidence; the paths written."""
    readme = ROOT / "README.md"
    texts = {readme: insert(readme.read_text(encoding="utf-8"))} | pages()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def pages() -> dict[Path, str]:
    """docs/results-<profile>.md of every profile that has one and has evidence, with its text."""
    there = [name for name, shown in SHOWN.items() if shown["page"] and (EVIDENCE / name).is_dir()]
    return {ROOT / "docs" / f"results-{name}.md": page(name) for name in there}


def insert(readme: str) -> str:
    """The README with the block of every profile made anew; a profile without evidence has an empty one."""
    for profile in SHOWN:
        start, end = f"<!-- results:{profile} -->", f"<!-- /results:{profile} -->"
        text = f"{block(profile)}\n" if (EVIDENCE / profile).is_dir() else ""
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        readme = pattern.sub(lambda _, text=text, start=start, end=end: f"{start}\n{text}{end}", readme)
    return readme


def block(profile: str) -> str:
    """What the README shows of a profile."""
    shown, lines = SHOWN[profile], []
    if shown["page"]:
        lines += [f"### What `{profile}` found", "", *_about(profile, f"docs/results-{profile}.md"), ""]
    for number in shown["readme_tables"]:
        rows = [row for row in _rows(profile, number) if row["experiment"]]
        lines += [_caption(profile, number, rows), "", *_scores(rows), ""]
    if shown["page"]:
        lines += [_claim_count(profile), ""]
    for name in shown["readme_figures"]:
        lines += [*_figure(profile, name, "outputs/evidence"), ""]
    return "\n".join(lines[:-1])


def page(profile: str) -> str:
    """docs/results-<profile>.md: all tables, claims, what differs from the paper, figures, notebooks and records."""
    title = f"# Results of profile `{profile}`, beside the paper"
    lines = ["<!-- Made by `python tools/evidence.py` from outputs/evidence/: change nothing here by hand. -->", ""]
    lines += [title, "", *_about(profile), ""]
    lines += [
        "What the numbers mean, in our words: [findings](findings.md). What the paper leaves open: [ledger](ledger.md).",
        "",
    ]
    for number in (2, 3, 4, 5):
        rows = _rows(profile, number)
        lines += [f"## {_title(number)}", "", _caption(profile, number, rows), "", *_scores(rows, full=True), ""]
        lines += [f"Every column: [table{number}.csv](../outputs/evidence/{profile}/table{number}.csv).", ""]
    lines += _differences(profile) + _claims(profile)
    lines += ["## Figures", ""]
    for name in SHOWN[profile]["figures"]:
        lines += [*_figure(profile, name, "../outputs/evidence"), ""]
    return "\n".join(lines + _runs(profile)) + "\n"


def _about(profile: str, link: str = "") -> list[str]:
    """What the numbers are about: data, networks, seeds, and where the rest stands."""
    records = read_records(profile)
    data = "; ".join(dict.fromkeys(map(differences.data_words, records)))
    networks = list(dict.fromkeys(_network(r) for r in records if r.get("stands_in_for_pann")))
    widths = sorted({r["config"]["width"] for r in records if not r["config"]["pretrained"] and r["config"]["width"] != 64})
    seeds = max(Counter((r["experiment"], r["fold"]) for r in records).values())
    words = [f"Numbers of **{data}**."]
    if networks:
        words.append(f"Pretrained rows: **{'; '.join(networks)}**; no row is PANN's.")
    if widths:
        words.append(f"CNN14 has width {', '.join(map(str, widths))}, not 64.")
    words.append(f"{seeds} seed{'s' if seeds > 1 else ''} a row, last epoch, 95% intervals in brackets.")
    if link:
        words.append(
            f"Tables 3 and 4, claims, figures, rendered notebooks and what differs from the paper: [all results]({link})."
        )
    return [" ".join(words)]


def _title(number: int) -> str:
    return f"Table {number}: {read_spec()['tables'][f'table{number}']['title']}"


def _caption(profile: str, number: int, rows: list[dict]) -> str:
    """What audio the numbers are about, which folds, and what the brackets are."""
    ours = [row for row in rows if row["accuracy"]]
    data, over = ("; ".join(dict.fromkeys(re.sub(r"^95%, ", "", row[key]) for row in ours)) for key in ("data", "interval"))
    folds = list(dict.fromkeys(row["fold_list"] for row in ours))
    where = f"trained on fold {'; '.join(folds)}"
    if any(" " in words for words in folds):
        several = "ten folds" if folds == [" ".join(map(str, FOLDS))] else f"folds {'; '.join(folds).replace(' ', ', ')}"
        where = f"mean over {several}"
    return f"Table {number} of profile `{profile}`: numbers of **{data}**, {where} [95% interval, {over}]."


def _rows(profile: str, number: int) -> list[dict]:
    with (EVIDENCE / profile / f"table{number}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _scores(rows: list[dict], full: bool = False) -> list[str]:
    """Rows as a Markdown table; `full` adds the difference to the row that the paper compares with, and what was run."""
    header = ["Row", "Accuracy, paper", "Accuracy, here", "AUC, paper", "AUC, here", "Folds"]
    header += ["Accuracy minus that of", "The same, paper", "Experiment", "Steps"] if full else []
    lines = [header, ["---"] * len(header)]
    for row in rows:
        cells = [row["row"]]
        for metric in ("accuracy", "auc"):
            printed = row[f"paper_{metric}"]
            cells += [f"{float(printed):.2f}" if printed else "", _level(row, metric)]
        cells.append(row["folds"])
        cells += [*_against(row), row["experiment"] and f"`{row['experiment']}`", row["steps"]] if full else []
        lines.append([cell or NOTHING for cell in cells])
    return [_line(cells) for cells in lines]


def _line(cells) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _level(row: dict, metric: str) -> str:
    if not row[metric]:
        return NOTHING
    return f"{float(row[metric]):.1f}" + _interval(row[f"{metric}_low"], row[f"{metric}_high"])


def _interval(low, high) -> str:
    return "" if low in ("", None) else f" [{float(low):.1f}, {float(high):.1f}]"


def _against(row: dict) -> tuple[str, str]:
    """Our differences to the row's baseline and to its control, with the paper's and the marks of the comparisons."""
    ours, paper = [], []
    if row["accuracy_difference"]:
        ends = _interval(row["accuracy_difference_low"], row["accuracy_difference_high"])
        ours.append(f"{row['baseline']}: {float(row['accuracy_difference']):+.1f}{ends}")
        paper.append(f"{float(row['paper_accuracy_difference']):+.2f} {MARKS[row['mark']]}")
    if row.get("control_difference"):
        ends = _interval(row["control_low"], row["control_high"])
        mark = MARKS[row["control_mark"]]
        ours.append(f"{row['control']}: {float(row['control_difference']):+.1f}{ends} {mark}")
    return "; ".join(ours), "; ".join(paper)


def read_records(profile: str) -> list[dict]:
    """metrics.json of every committed run, by experiment, fold and seed."""
    paths = (EVIDENCE / profile / "runs").glob("*/*/metrics.json")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return sorted(records, key=lambda r: (r["experiment"], r["fold"], r["seed"]))


def _differences(profile: str) -> list[str]:
    lines = [
        "## What differs from the paper",
        "",
        "Computed from the records. *Paper* is profile `paper`: what is printed or, where the paper is silent, the choice "
        "of the [ledger](ledger.md), whose lines stand in brackets. What is equal is not listed.",
        "",
        *map(_line, (["What", "Paper", "Here", "Of"], ["---"] * 4)),
    ]
    return [*lines, *map(_line, differences.differences(read_records(profile))), ""]


def _read_claims(profile: str) -> list[dict]:
    return json.loads((EVIDENCE / profile / "claims.json").read_text(encoding="utf-8"))


def _scope(claims: list[dict]) -> str:
    """What all verdicts are limited to, such as another network in PANN's place; "" for nothing, or not the same."""
    scopes = {claim["scope"] for claim in claims}
    return scopes.pop() if len(scopes) == 1 else ""


def _claim_count(profile: str) -> str:
    claims = _read_claims(profile)
    found = Counter(claim["verdict"] for claim in claims)
    words = ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS if found[verdict] or verdict != "blocked")
    link, scope = f"docs/results-{profile}.md#the-papers-claims", _scope(claims)
    about = f"on these runs, {scope}" if scope else "on these runs"
    return f"Of the paper's {found.total()} claims, {about}: {words} ([each with its numbers]({link}))."


def _claims(profile: str) -> list[str]:
    claims = _read_claims(profile)
    scope = _scope(claims)
    words = "Differences in points, of a claim's first rule; it is supported if all its rules are, contradicted if one is."
    known = all("could_be_decided" in claim for claim in claims)
    words = " ".join(filter(None, [words, scope and f"Every verdict is {scope}.", known and of_the_paper(claims)]))
    lines = ["## The paper's claims", "", words, ""]
    lines += map(_line, (["Claim", "Verdict", "Here", "Paper"], ["---"] * 4))
    for claim in claims:
        here = (
            NOTHING if claim["difference"] is None else f"{claim['difference']:+.1f}{_interval(claim['low'], claim['high'])}"
        )
        paper = NOTHING if claim["paper"] is None else f"{claim['paper']:+.2f}"
        lines.append(_line([f"({claim['id']}) {claim['claim']}", VERDICTS[claim["verdict"]], here, paper]))
    lines += ["", "The evidence, rule by rule:", ""]
    for claim in claims:
        about = " ".join(filter(None, (claim["note"], claim["scope"] and not scope and f"Scope: {claim['scope']}.")))
        lines.append(f"- ({claim['id']}) {claim['claim']} {about}".rstrip())
        lines += [f"  - {_plain(rule['evidence'])}" for rule in claim["rules"]]
    return [*lines, ""]


def of_the_paper(claims: list[dict]) -> str:
    """How many claims are settled for the paper itself, and how many these runs could decide at all."""
    still = sum(claim["of_the_paper"] == OPEN for claim in claims)
    return f"Of the paper itself {still} of {len(claims)} claims are open. {summary(claims)}".strip()


def _plain(text: str) -> str:
    """Text that Markdown would take for a list if it began with its mark, as the label "+ FixMatch" does."""
    return re.sub(r"^([-+*]+) ", r"\\\1 ", text)


def _figure(profile: str, name: str, folder: str) -> list[str]:
    """A figure with its alternative and caption; one of a run also says which network that trained."""
    about = json.loads((EVIDENCE / profile / "figures" / f"{name}.json").read_text(encoding="utf-8"))
    run = SHOWN[profile]["figures"][name].rpartition("/")[0]
    network = f" Network: {_backbone(profile, run)}." if run and _backbone(profile, run) else ""
    return [f"![{about['alt']}]({folder}/{profile}/figures/{name}.png)", "", f"*{about['caption']}{network}*"]


def _backbone(profile: str, run: str) -> str:
    """What a committed run, "<experiment>/fold<k>_seed<s>", started from; "" where its record is not committed."""
    path = EVIDENCE / profile / "runs" / run / "metrics.json"
    return _network(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else ""


def _network(record: dict) -> str:
    """What a run started from, and whether that stands in PANN's place."""
    return record["backbone"] + (", in place of PANN" if record.get("stands_in_for_pann") else "")


def _runs(profile: str) -> list[str]:
    """The rendered notebooks, the records, and how to make them again."""
    folder, records = f"../outputs/evidence/{profile}", read_records(profile)
    made = dict.fromkeys((r["provenance"]["commit"][:12], r["provenance"]["dirty"]) for r in records)
    commits = ", ".join(f"{commit}{' with uncommitted changes' if dirty else ''}" for commit, dirty in made)
    codes = ", ".join(dict.fromkeys(r["provenance"]["code_hash"] for r in records))
    lines = ["## Notebooks and records", ""]
    for run in SHOWN[profile]["notebooks"]:
        experiment, _, rest = run.partition("/")
        name = f"`{experiment}`, {rest.replace('fold', 'fold ').replace('_seed', ', seed ')}"
        link = f"{folder}/notebooks/{run.replace('/', '_')}.ipynb"
        lines.append(f"- [The rendered notebook of {name}]({link}) ({_backbone(profile, run)})")
    lines += [
        f"- [Scores, every knob, provenance and history of all {len(records)} runs]({folder}/runs)",
        f"- Code: commit {commits}; hash of the method's code {codes}",
        "",
        "To train the rows of a table again and compare every number with these (several tables: `TABLE=2,3`):",
        "",
        "```sh",
        f"make reproduce PROFILE={profile} DATA=/path/to/UrbanSound8K TABLE=2",
        "```",
    ]
    return lines
