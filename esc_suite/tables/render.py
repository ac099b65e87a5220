"""Tables and claims as files: CSV with every column, Markdown and HTML with those a reader needs."""

import csv
import io
import json
import re
import string
from pathlib import Path

from esc_suite.results import comparison
from esc_suite.results.spec import read_spec
from esc_suite.tables import claims
from esc_suite.tables import rows as tables
from esc_utils import config
from esc_utils.errors import UserError

MARKS = {
    "supported": "✓ as printed", "contradicted": "✗ the other way", "undecided": "? undecided", "blocked": "– blocked",
    "above": "✓ above", "below": "✗ below",
}  # fmt: skip
EXTRAS = (
    "fold_list", "interval", "clips", "recordings", "seeds", "accuracy_seed_deviation", "auc_seed_deviation",
    "accuracy_fold_deviation", "auc_fold_deviation", "accuracy_recordings_low", "accuracy_recordings_high",
    "auc_recordings_low", "auc_recordings_high", "accuracy_by_recording", "accuracy_by_recording_low",
    "accuracy_by_recording_high", "accuracy_minus_paper", "auc_minus_paper", "baseline",
    "paper_accuracy_difference", "accuracy_difference", "accuracy_difference_low", "accuracy_difference_high",
    "auc_difference", "auc_difference_low", "auc_difference_high", "accuracy_by_recording_difference", "test", "p", "p_holm",
    "effect_size", "wilcoxon_p", "seed_difference_low", "seed_difference_high", "mark", "blocked", "least_detectable",
    "what_it_would_take", "control", "control_difference", "control_low", "control_high", "control_p", "control_p_holm",
    "control_mark", "control_blocked", "steps", "epochs", "labelled_passes", "unlabelled_share", "checkpoint",
    "best_epoch_accuracy", "transductive_accuracy", "validation_folds", "network", "paper_row", "group",
    "data", "footnotes", "note",
)  # fmt: skip
COLUMNS = (
    "row", "experiment", "paper_accuracy", "paper_auc", "accuracy", "accuracy_low", "accuracy_high", "auc", "auc_low",
    "auc_high", "folds", *EXTRAS,
)  # fmt: skip
NO_RUN = "—"


def write(outputs: Path, profile: str, names=tables.NAMES, with_claims: bool = True) -> list[Path]:
    """Build tables, and claims.json over all of them, from the runs under outputs/<profile>/runs; returns the paths
    written. UserError where the profile is unknown, has no finished run, or a record is damaged."""
    config.layers_of(profile, "")
    spec, results = read_spec(), comparison.load(outputs, profile)
    if not results.found:
        raise UserError(f"no finished run under {outputs / profile / 'runs'}: run `make tables PROFILE={profile}` first")
    texts = {}
    for name in names:
        rows = tables.build(spec, results, name, profile)
        view = readable(spec, name, rows, profile)
        texts |= {f"{name}.csv": as_csv(name, rows), f"{name}.md": as_markdown(view), f"{name}.html": as_html(view)}
    if with_claims:
        texts["claims.json"] = json.dumps(claims.decide(spec, results), indent=1, ensure_ascii=False) + "\n"
    return save(outputs / profile / "tables", texts)


def save(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Write texts by file name into `folder`, each atomically; returns their paths."""
    from esc_utils.files import write_atomic

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): set outputs to a folder of yours") from None
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
    return [folder / name for name in texts]


def as_csv(name: str, rows: list[dict]) -> str:
    """Every column, percent and points with four decimals at most; empty where there is nothing."""
    return csv_text(list(dict.fromkeys(key for row in rows for key in row)) if name == "table1" else COLUMNS, rows)


def csv_text(columns, rows: list[dict]) -> str:
    """Rows as CSV with these columns, numbers with six digits at most; empty where there is nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(row.get(key)) for key in columns} for row in rows)
    return text.getvalue()


def _cell(value):
    if value is None:
        return ""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def readable(spec: dict, name: str, rows: list[dict], profile: str) -> dict:
    """What Markdown and HTML show of a table: title, caption (says what audio, and what is the same in all rows), header,
    rows of strings, and of each row the marks of its notes: ledger lines by number, remarks by letter."""
    table = spec["tables"][name]
    header, body, facts = (_specaugment if name == "table1" else _scores)(rows)
    same, differing, cells = _same_and_differing(facts)
    used = set(table.get("footnotes", [])) | {n for row in table["rows"] for n in row.get("footnotes", [])}
    notes = {number: spec["ledger_notes"][number] for number in sorted(used)}
    common, letters, marks = _shared(
        [row["remarks"] if "remarks" in row else [*filter(None, [row["note"]])] for row in rows]
    )
    return {
        "name": name,
        "title": f"Table {name[-1]}. {table['title']}",
        "profile": profile,
        "synthesised": any(comparison.SYNTHESISED in row["data"] for row in rows),
        "caption": _caption(name, rows, profile, same),
        "header": header + differing,
        "rows": [row + more for row, more in zip(body, cells, strict=True)],
        "marks": [[*map(int, row.get("footnotes", "").split()), *own] for row, own in zip(rows, marks, strict=True)],
        "groups": [row.get("group", "") for row in rows],
        "notes": notes,
        "letters": letters,
        "general": table.get("footnotes", []),
        "common": common,
    }


def _shared(remarks: list[list[str]]) -> tuple[list[str], dict[str, str], list[list[str]]]:
    """From the remarks of each row: those that all rows share, the others by letter, and the letters of each row."""
    every = list(dict.fromkeys(text for texts in remarks for text in texts))
    common = [text for text in every if all(text in texts for texts in remarks)]
    alphabet = string.ascii_lowercase
    letters = {
        alphabet[at % len(alphabet)] * (1 + at // len(alphabet)): text
        for at, text in enumerate(text for text in every if text not in common)
    }
    return common, letters, [[letter for letter, text in letters.items() if text in texts] for texts in remarks]


def _same_and_differing(facts: list[dict | None]) -> tuple[list[str], list[str], list[list[str]]]:
    """Facts of the rows, {header: (cell, words)} or None for a row without runs -> words of those that are the same in all
    rows, and one column (header and cells, or neither) for those that are not."""
    known = [row for row in facts if row]
    if not known:
        return [], [], [[] for _ in facts]
    differing = [name for name in known[0] if len({row[name] for row in known}) > 1]
    same = [words for name, (_, words) in known[0].items() if name not in differing]
    if not differing:
        return same, [], [[] for _ in facts]
    one = len(differing) == 1
    cells = [[NO_RUN if not row else "\n".join(row[name][0 if one else 1] for name in differing)] for row in facts]
    return same, [", ".join(differing).capitalize()], cells


def _caption(name: str, rows: list[dict], profile: str, same: list[str]) -> str:
    data = "; ".join(dict.fromkeys(row["data"] for row in rows if row["data"]))
    words = [f"Profile {profile}."]
    if comparison.SYNTHESISED in data:
        words.append("Numbers from synthesised audio: they show that the suite works and reproduce nothing of the paper.")
    elif data:
        words.append(f"Data: {data}.")
    if same:
        words.append(f"Each row {'has' if name == 'table1' else 'that was run has'} {', '.join(same)}.")
    if name == "table1":
        return " ".join(words)
    words.append(
        "Percent, validation fold, last epoch. Brackets: 95% interval, over recordings (one fold) or folds (several). "
        "By recording: accuracy with each recording weighing the same. Difference: accuracy against the row named, paired, "
        "p by Holm over the table's marks and claims; its mark compares its direction with the printed one, or says above "
        "or below the control."
    )
    if any(row.get("accuracy_seed_deviation") is not None for row in rows):
        words.append("Seeds: deviation over training seeds, apart from the interval.")
    if changes := tables.changed_method(profile):
        words.append(f"Beyond scale this profile changes: {changes}.")
    short = sorted({row["folds"] for row in rows if row.get("folds") and row["folds"].split()[0] != row["folds"].split()[2]})
    if short:
        words.append(f"Not all runs are there: {', '.join(short)} folds.")
    return " ".join(words)


def _scores(rows: list[dict]) -> tuple[list[str], list[list[str]], list[dict | None]]:
    header = ["Row", "Accuracy, paper", "Accuracy, ours", "By recording", "Difference to", "AUC, paper", "AUC, ours"]
    names = {row["row"]: _short(row["row"]) for row in rows}
    body = [
        [
            row["row"],
            number(row["paper_accuracy"]),
            _level(row, "accuracy"),
            number(row.get("accuracy_by_recording")),
            _differences(row, names),
            number(row["paper_auc"]),
            _level(row, "auc"),
        ]
        for row in rows
    ]
    return header, body, [_run_facts(row) for row in rows]


def _run_facts(row: dict) -> dict[str, tuple[str, str]] | None:
    """{header: (cell, words)} of what ran in a row; None where nothing did."""
    if not row.get("clips"):
        return None
    seeds, spread = row["seeds"], row["accuracy_seed_deviation"]
    deviation = "" if spread is None else f" (± {spread:.2f})"
    return {
        "folds": (row["folds"], f"{row['folds']} fold{'' if row['folds'].endswith(' 1') else 's'}"),
        "clips": (
            f"{row['clips']} of {row['recordings']} recordings",
            f"{row['clips']} clips of {row['recordings']} recordings",
        ),
        "seeds": (f"{seeds}{deviation}", f"{seeds} seed{'' if seeds == '1' else 's'}{deviation}"),
        "steps": (row["steps"], f"{row['steps']} steps"),
    }


def _short(name: str) -> str:
    """A row's name where another row of its table refers to it: without what stands in brackets behind it."""
    return re.sub(r" \[[^\]]*\]$", "", name).removesuffix(" (not in the paper)")


def number(value: float | None) -> str:
    """Two decimals, or a dash where there is nothing."""
    return NO_RUN if value is None else f"{value:.2f}"


def _level(row: dict, metric: str) -> str:
    if row[metric] is None:
        return NO_RUN
    if row[f"{metric}_low"] is None:
        return f"{row[metric]:.2f}"
    return f"{row[metric]:.2f} [{row[f'{metric}_low']:.2f}, {row[f'{metric}_high']:.2f}]"


def _differences(row: dict, names: dict[str, str]) -> str:
    """Differences to the baseline and to the control, one a line, each with interval, p and mark."""
    told = []
    if row.get("accuracy_difference") is not None:
        keys = ("accuracy_difference", "accuracy_difference_low", "accuracy_difference_high", "p_holm", "mark", "blocked")
        told.append(_difference(names[row["baseline"]], *(row[key] for key in keys), row["paper_accuracy_difference"]))
    if row.get("control_difference") is not None:
        keys = ("difference", "low", "high", "p_holm", "mark", "blocked")
        told.append(_difference(names[row["control"]], *(row[f"control_{key}"] for key in keys)))
    return "\n".join(told) or NO_RUN


def _difference(name, difference, low, high, p, mark, blocked, printed=None) -> str:
    text = f"{name}: {difference:+.2f}"
    if low is not None:
        text += f" [{low:.2f}, {high:.2f}]" + (f", {comparison.p_words(p)}" if p is not None else "")
    text += "" if printed is None else f"; printed {printed:+.2f}"
    return f"{text}; {MARKS[mark]}{f': {blocked}' if blocked else ''}"


def _specaugment(rows: list[dict]) -> tuple[list[str], list[list[str]], list[dict | None]]:
    header = ["View", "Frequency, paper", "Time, paper", "Masked, paper's setting", "Frequency, ours", "Time, ours",
              "Masked, expected", "Masked, measured"]  # fmt: skip
    body = [
        [
            row["row"],
            f"{row['paper_freq_width']} x {row['paper_freq_stripes']}",
            f"{row['paper_time_width']} x {row['paper_time_stripes']}",
            f"{row['paper_masked_expected']:.1f}%",
            f"{row['freq_width']} x {row['freq_stripes']}",
            f"{row['time_width']} x {row['time_stripes']}",
            f"{row['masked_expected']:.1f}%",
            f"{row['masked_measured']:.1f}%",
        ]
        for row in rows
    ]
    facts: list[dict | None] = [
        {
            "frames x mels": (f"{row['frames']} x {row['mels']}", f"{row['frames']} x {row['mels']} frames x mels"),
            "measured on": (row["measured_on"], f"its measured share from {row['measured_on']}"),
            "taken from": (row["parameters"], f"its setting from {row['parameters']}"),
        }
        for row in rows
    ]
    return header, body, facts


def as_markdown(view: dict) -> str:
    """One table with its caption above and its notes below."""

    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"

    lines = [f"### {view['title']}", "", view["caption"], "", line(view["header"]), line(["---"] * len(view["header"]))]
    group = ""
    for name, row, marks in zip(view["groups"], view["rows"], view["marks"], strict=True):
        if name != group:
            lines.append(line([f"*{name}*", *[""] * (len(row) - 1)]))
            group = name
        raised = f" <sup>{', '.join(map(str, marks))}</sup>" if marks else ""
        lines.append(line([f"{row[0]}{raised}", *row[1:]]))
    if view["general"] or view["common"]:
        general = [f"[{', '.join(map(str, view['general']))}]"] if view["general"] else []
        lines += ["", f"All rows: {'; '.join(general + view['common'])}."]
    lines += [""] + [f"- [{mark}] {text}" for mark, text in (view["letters"] | view["notes"]).items()]
    return "\n".join(lines) + "\n"


def as_html(view: dict) -> str:
    """A page of its own, readable offline, from assets/table.html.j2."""
    return environment().get_template("table.html.j2").render(view=view)


def environment():
    """Jinja2 over esc_suite/tables/assets, with everything escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "assets")
    made = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    made.filters["unbroken"] = unbroken
    return made


def unbroken(text: str) -> str:
    """Text in which no line breaks within an interval, a p value or a mark."""
    parts = r"\[-?\d[^\]]*\]|p [=<] [\d.e-]+|printed [+-]\S+|[✓✗?–] [a-z ]+"
    return re.sub(parts, lambda found: found[0].replace(" ", "\u00a0"), text)
