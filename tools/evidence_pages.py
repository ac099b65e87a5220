"""What the READMEs and docs/results-<profile>.md show of profiles, made from outputs/evidence/ alone, never
typed."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import differences
from evidence_claims import claim_count, line, of_claims
from evidence_findings import of_one_fold, of_some_folds, of_synthesised_audio, of_tables_beyond
from shown import BEYOND, GALLERY, SHOWN

from esc_suite.results.spec import read_spec
from esc_suite.tables.render import as_markdown, markdown_notes, markdown_table
from esc_suite.tables.view import from_csv, lettered, readable

ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "outputs" / "evidence"


def write() -> list[Path]:
    """Write the blocks of READMES and the pages of all profiles that have evidence; the paths written."""
    texts = {
        ROOT / name: insert((ROOT / name).read_text(encoding="utf-8"), chinese)
        for name, chinese in READMES.items()
    }
    texts |= pages()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


# Pages with blocks, <!-- NAME --> to <!-- /NAME -->, and whether they are in Chinese.
READMES = {"README.md": False, "README.zh-TW.md": True, "docs/findings.md": False}


def collected() -> list[str]:
    """Profiles that have evidence, the nearest to the paper first."""
    return [name for name in SHOWN if (EVIDENCE / name).is_dir()]


def pages() -> dict[Path, str]:
    """docs/results-<profile>.md of every profile with numbers of real clips, with its text."""
    return {
        ROOT / "docs" / f"results-{name}.md": page(name) for name in collected() if SHOWN[name]["picture"]
    }


def insert(readme: str, chinese: bool = False) -> str:
    """A page with each of its blocks made anew."""
    blocks = {
        "picture": picture(),
        "results": results(),
        "gallery": gallery(chinese),
        "quick": of_synthesised_audio(EVIDENCE / "quick"),
        "lite": of_one_fold(EVIDENCE / "lite"),
        "table5": of_some_folds(EVIDENCE / "lite"),
        "beyond": of_tables_beyond(EVIDENCE / "lite"),
    }
    for name, lines in blocks.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = "".join(f"{line}\n" for line in lines)
        readme = pattern.sub(lambda found, text=text: f"{found[1]}{text}{found[2]}", readme)
    return readme


def picture() -> list[str]:
    """The picture of the nearest profile to the paper that has one."""
    found = (_figure(name, SHOWN[name]["picture"], "outputs/evidence") for name in of_real_clips())
    shown = next(filter(None, found), [])
    return ["<br>".join(filter(None, shown))] if shown else []


def of_real_clips() -> list[str]:
    """Profiles that have evidence from real clips."""
    return [name for name in collected() if SHOWN[name]["picture"]]


def results() -> list[str]:
    """What README says of every profile with numbers of real clips: data, networks, claims; and of some, a
    table."""
    lines = []
    for profile in of_real_clips():
        link = f"docs/results-{profile}.md"
        lines += [
            f"**`{profile}`**: {_about(profile)} {claim_count(read_claims(profile))} [All results]({link}).",
            "",
        ]
        if number := SHOWN[profile]["table"]:
            view = _view(profile, number, of_ours=True)
            lines += [view["caption"], "", *markdown_table(view, marks=False), ""]
    return lines[:-1]


def gallery(chinese: bool) -> list[str]:
    """Three notebooks a row: a thumbnail and the question, both leading to the rendered copy of the nearest
    profile."""
    cells = []
    for name, (_, _, *questions) in GALLERY.items():
        profile = next(
            (p for p in collected() if (EVIDENCE / p / "notebooks" / f"{name}.ipynb").is_file()), None
        )
        if profile:
            folder, number = f"outputs/evidence/{profile}", name.split("_")[0]
            link, question = f"{folder}/notebooks/{name}.ipynb", questions[chinese]
            cells.append(
                f"[![{question}]({folder}/gallery/{name}.png)]({link})<br>[{number}]({link}) {question} "
                f"(`{profile}`)"
            )
    rows = [cells[at : at + 3] for at in range(0, len(cells), 3)]
    return [line(row) for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])] if rows else []


def page(profile: str) -> str:
    """docs/results-<profile>.md: all tables, claims, what differs from the paper, figures, notebooks and
    records."""
    title = f"# Results of profile `{profile}`, beside the paper"
    lines = [
        "<!-- Made by `python tools/evidence.py` from outputs/evidence/: change nothing here by hand. -->",
        "",
    ]
    lines += [title, "", _about(profile), ""]
    lines += [
        "What the numbers mean, in our words: [findings](findings.md). What the paper leaves open: "
        "[ledger](ledger.md).",
        "",
    ]
    ours = [number for number in BEYOND if (EVIDENCE / profile / f"table{number}.csv").is_file()]
    views = lettered([_view(profile, number) for number in (2, 3, 4, 5, *ours)])
    for view in views:
        name = view["name"]
        lines += [*as_markdown(view, notes=False).replace("### ", "## ").splitlines(), ""]
        lines += [f"Every column: [{name}.csv](../outputs/evidence/{profile}/{name}.csv).", ""]
    lines += ["## Notes to the tables", "", *markdown_notes(views).splitlines(), ""]
    lines += _differences(profile) + of_claims(read_claims(profile))
    lines += ["## Figures", ""]
    for name in SHOWN[profile]["figures"]:
        if shown := _figure(profile, name, "../outputs/evidence"):
            lines += [*shown, ""]
    return "\n".join(lines + _runs(profile)) + "\n"


def _view(profile: str, number: int, of_ours: bool = False) -> dict:
    """A committed table as everything shows it; `of_ours`: without the rows of other papers."""
    rows = [from_csv(row) for row in _rows(profile, number)]
    name, spec = f"table{number}", read_spec(beyond=number in BEYOND)
    if of_ours:
        ours = [at for at, row in enumerate(rows) if row["experiment"]]
        table = spec["tables"][name]
        spec["tables"] |= {name: table | {"rows": [table["rows"][at] for at in ours]}}
        rows = [rows[at] | {"group": ""} for at in ours]
    view = readable(spec, name, rows, profile)
    # What a profile changes stands under "What differs from the paper"
    return lettered([view | {"common": []}])[0]


def _about(profile: str) -> str:
    """What the numbers are about: data, networks, seeds."""
    records = read_records(profile)
    data = "; ".join(dict.fromkeys(map(differences.data_words, records)))
    networks = list(dict.fromkeys(_network(r) for r in records if r.get("stands_in_for_pann")))
    widths = sorted(
        {
            r["config"]["width"]
            for r in records
            if not r["config"]["pretrained"] and r["config"]["width"] != 64
        }
    )
    seeds = max(Counter((r["experiment"], r["fold"]) for r in records).values())
    words = [f"Numbers of **{data}**."]
    if networks:
        words.append(f"Pretrained rows: **{'; '.join(networks)}**; no row is PANN's.")
    if widths:
        words.append(f"CNN14 has width {', '.join(map(str, widths))}, not 64.")
    words.append(f"{seeds} seed{'s' if seeds > 1 else ''} a row, last epoch.")
    return " ".join(words)


def _rows(profile: str, number: int) -> list[dict]:
    with (EVIDENCE / profile / f"table{number}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_records(profile: str) -> list[dict]:
    """metrics.json of every committed run, by experiment, fold and seed."""
    paths = (EVIDENCE / profile / "runs").glob("*/*/metrics.json")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return sorted(records, key=lambda r: (r["experiment"], r["fold"], r["seed"]))


def _differences(profile: str) -> list[str]:
    lines = [
        "## What differs from the paper",
        "",
        "Computed from the records. *Paper* is profile `paper`: what is printed or, where the paper is "
        "silent, the choice "
        "of the [ledger](ledger.md), whose lines stand in brackets. What is equal is not listed.",
        "",
        *map(line, (["What", "Paper", "Here", "Of"], ["---"] * 4)),
    ]
    return [*lines, *map(line, differences.differences(read_records(profile))), ""]


def read_claims(profile: str) -> list[dict]:
    return json.loads((EVIDENCE / profile / "claims.json").read_text(encoding="utf-8"))


def _figure(profile: str, name: str, folder: str) -> list[str]:
    """A figure with its alternative and caption; one of a run also says which network that trained. Nothing
    where it is not collected (`--partial`)."""
    path = EVIDENCE / profile / "figures" / f"{name}.json"
    if not path.is_file():
        return []
    about = json.loads(path.read_text(encoding="utf-8"))
    run = SHOWN[profile]["figures"][name].rpartition("/")[0]
    network = f" Network: {_backbone(profile, run)}." if run and _backbone(profile, run) else ""
    return [f"![{about['alt']}]({folder}/{profile}/figures/{name}.png)", "", f"*{about['caption']}{network}*"]


def _backbone(profile: str, run: str) -> str:
    """What a committed run, "<experiment>/fold<k>_seed<s>", started from; "" where its record is not
    committed."""
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
    if SHOWN[profile]["gallery"]:
        there = [name for name in GALLERY if (EVIDENCE / profile / "notebooks" / f"{name}.ipynb").is_file()]
        books = [f"[{name.split('_')[0]}]({folder}/notebooks/{name}.ipynb)" for name in there]
        lines.append(f"- Rendered notebooks: {', '.join(books)}")
    lines += [
        f"- [Scores, every knob, provenance{', predictions' if SHOWN[profile]['predictions'] else ''} and "
        f"history of all {len(records)} runs]({folder}/runs)",
        f"- Code: commit {commits}; hash of the method's code {codes}",
        "",
        "To train the rows of a table again and compare every number with these (several tables: "
        "`TABLE=2,3`):",
        "",
        "```sh",
        f"make reproduce PROFILE={profile} DATA=/path/to/UrbanSound8K TABLE=2",
        "```",
    ]
    return lines
