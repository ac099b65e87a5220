"""Tables and claims as files: CSV with every column, Markdown and HTML with those a reader needs."""

import csv
import io
import json
from pathlib import Path

from esc_suite.results import comparison
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
    spec, results = tables.read_spec(), comparison.load(outputs, profile)
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
    """What Markdown and HTML show of a table: title, caption (says what audio), header, rows of strings, footnotes."""
    table = spec["tables"][name]
    if name == "table1":
        header, body = _specaugment(rows)
    else:
        header, body = _scores(rows)
    used = set(table.get("footnotes", [])) | {n for row in table["rows"] for n in row.get("footnotes", [])}
    notes = {number: spec["ledger_notes"][number] for number in sorted(used)}
    return {
        "name": name,
        "title": f"Table {name[-1]}. {table['title']}",
        "profile": profile,
        "synthesised": any(comparison.SYNTHESISED in row["data"] for row in rows),
        "caption": _caption(name, rows, profile),
        "header": header,
        "rows": body,
        "groups": [row.get("group", "") for row in rows],
        "notes": notes,
        "general": table.get("footnotes", []),
    }


def _caption(name: str, rows: list[dict], profile: str) -> str:
    data = "; ".join(dict.fromkeys(row["data"] for row in rows if row["data"]))
    words = [f"Profile {profile}."]
    if comparison.SYNTHESISED in data:
        words.append("Numbers from synthesised audio: they show that the suite works and reproduce nothing of the paper.")
    elif data:
        words.append(f"Data: {data}.")
    if name == "table1":
        return " ".join(words)
    words.append(
        "Percent, validation fold, last epoch. Brackets: 95% interval, over recordings (one fold) or folds (several). "
        "By recording: accuracy with each recording weighing the same. Difference: accuracy against the row named, paired, "
        "p by Holm over the table's marks and claims; its mark compares its direction with the printed one, or says above "
        "or below the control. Seeds: deviation over training seeds, apart from the interval."
    )
    if changes := tables.changed_method(profile):
        words.append(f"Beyond scale this profile changes: {changes}.")
    short = sorted({row["folds"] for row in rows if row.get("folds") and row["folds"].split()[0] != row["folds"].split()[2]})
    if short:
        words.append(f"Not all runs are there: {', '.join(short)} folds.")
    return " ".join(words)


def _scores(rows: list[dict]) -> tuple[list[str], list[list[str]]]:
    header = ["Row", "Accuracy, paper", "Accuracy, ours", "By recording", "Difference to", "AUC, paper", "AUC, ours",
              "Folds", "Clips / recordings", "Seeds", "Steps", "Notes"]  # fmt: skip
    body = []
    for row in rows:
        notes = "; ".join(
            text for text in (f"[{row['footnotes'].replace(' ', ', ')}]" if row["footnotes"] else "", row["note"]) if text
        )
        body.append(
            [
                row["row"],
                number(row["paper_accuracy"]),
                _level(row, "accuracy"),
                number(row.get("accuracy_by_recording")),
                _differences(row),
                number(row["paper_auc"]),
                _level(row, "auc"),
                row["folds"] or NO_RUN,
                f"{row['clips']} / {row['recordings']}" if row.get("clips") else NO_RUN,
                _seeds(row),
                str(row.get("steps", NO_RUN)),
                notes,
            ]
        )
    return header, body


def number(value: float | None) -> str:
    """Two decimals, or a dash where there is nothing."""
    return NO_RUN if value is None else f"{value:.2f}"


def _level(row: dict, metric: str) -> str:
    if row[metric] is None:
        return NO_RUN
    if row[f"{metric}_low"] is None:
        return f"{row[metric]:.2f}"
    return f"{row[metric]:.2f} [{row[f'{metric}_low']:.2f}, {row[f'{metric}_high']:.2f}]"


def _differences(row: dict) -> str:
    """Differences to the baseline and to the control, each with interval, p and mark."""
    told = []
    if row.get("accuracy_difference") is not None:
        keys = ("accuracy_difference", "accuracy_difference_low", "accuracy_difference_high", "p_holm", "mark", "blocked")
        printed = row["paper_accuracy_difference"]
        end = "" if printed is None else f" ({printed:+.2f})"
        told.append(_difference(row["baseline"], *(row[key] for key in keys), end))
    if row.get("control_difference") is not None:
        keys = ("difference", "low", "high", "p_holm", "mark", "blocked")
        told.append(_difference(row["control"], *(row[f"control_{key}"] for key in keys)))
    return "; ".join(told) or NO_RUN


def _difference(name, difference, low, high, p, mark, blocked, end="") -> str:
    text = f"{name}: {difference:+.2f}"
    if low is not None:
        text += f" [{low:.2f}, {high:.2f}]" + (f", {comparison.p_words(p)}" if p is not None else "")
    return f"{text}; {MARKS[mark]}{f': {blocked}' if blocked else ''}{end}"


def _seeds(row: dict) -> str:
    if not row.get("seeds"):
        return NO_RUN
    spread = row["accuracy_seed_deviation"]
    return row["seeds"] if spread is None else f"{row['seeds']} (± {spread:.2f})"


def _specaugment(rows: list[dict]) -> tuple[list[str], list[list[str]]]:
    header = ["View", "Frequency, paper", "Time, paper", "Masked, paper's setting", "Frequency, ours", "Time, ours",
              "Frames x mels", "Masked, expected", "Masked, measured", "Taken from", "Notes"]  # fmt: skip
    return header, [
        [
            row["row"],
            f"{row['paper_freq_width']} x {row['paper_freq_stripes']}",
            f"{row['paper_time_width']} x {row['paper_time_stripes']}",
            f"{row['paper_masked_expected']:.1f}%",
            f"{row['freq_width']} x {row['freq_stripes']}",
            f"{row['time_width']} x {row['time_stripes']}",
            f"{row['frames']} x {row['mels']}",
            f"{row['masked_expected']:.1f}%",
            f"{row['masked_measured']:.1f}% ({row['measured_on']})",
            row["parameters"],
            "; ".join(filter(None, ["[23]", row["note"]])),
        ]
        for row in rows
    ]


def as_markdown(view: dict) -> str:
    """One table with its caption above and its footnotes below."""

    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    lines = [f"### {view['title']}", "", view["caption"], "", line(view["header"]), line(["---"] * len(view["header"]))]
    group = ""
    for name, row in zip(view["groups"], view["rows"], strict=True):
        if name != group:
            lines.append(line([f"*{name}*", *[""] * (len(row) - 1)]))
            group = name
        lines.append(line(row))
    if view["general"]:
        lines += ["", f"All rows: [{', '.join(map(str, view['general']))}]."]
    lines += [""] + [f"- [{number}] {text}" for number, text in view["notes"].items()]
    return "\n".join(lines) + "\n"


def as_html(view: dict) -> str:
    """A page of its own, readable offline, from assets/table.html.j2."""
    return environment().get_template("table.html.j2").render(view=view)


def environment():
    """Jinja2 over esc_utils/assets, with everything escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "assets")
    return jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
