"""Tables and claims as files: CSV with every column, Markdown and HTML with those a reader needs."""

import csv
import io
import json
import re
from pathlib import Path

from esc_suite.results import comparison
from esc_suite.results.spec import read_spec
from esc_suite.tables import claims
from esc_suite.tables import rows as tables
from esc_suite.tables.view import level, notes_of, readable
from esc_utils import config
from esc_utils.errors import UserError

EXTRAS = (
    "fold_list", "interval", "clips", "recordings", "seeds", "accuracy_seed_deviation", "auc_seed_deviation",
    "accuracy_fold_deviation", "auc_fold_deviation", "accuracy_recordings_low", "accuracy_recordings_high",
    "auc_recordings_low", "auc_recordings_high", "accuracy_by_recording", "accuracy_by_recording_low",
    "accuracy_by_recording_high", "accuracy_minus_paper", "auc_minus_paper", "baseline",
    "paper_accuracy_difference", "accuracy_difference", "accuracy_difference_low", "accuracy_difference_high",
    "auc_difference", "auc_difference_low", "auc_difference_high", "accuracy_by_recording_difference",
    "test", "p", "p_holm",
    "effect_size", "wilcoxon_p", "seed_difference_low", "seed_difference_high", "mark", "blocked",
    "least_detectable",
    "what_it_would_take", "control", "control_difference", "control_low", "control_high", "control_p",
    "control_p_holm",
    "control_mark", "control_blocked", "steps", "epochs", "labelled_passes", "unlabelled_share", "checkpoint",
    "best_epoch_accuracy", "transductive_accuracy", "validation_folds", "network", "paper_row", "group",
    "data", "footnotes", "note",
)  # fmt: skip
# Of Table 7 alone
OPEN_COLUMNS = tuple(f"{name}{end}" for name in tables.OPEN_MEASURES for end in ("", "_low", "_high"))
COLUMNS = (
    "row", "experiment", "paper_accuracy", "paper_auc", "accuracy", "accuracy_low", "accuracy_high", "auc",
    "auc_low",
    "auc_high", "folds", *EXTRAS,
)  # fmt: skip


def write(outputs: Path, profile: str, names=tables.NAMES, with_claims: bool = True) -> list[Path]:
    """Build tables, and claims.json over all of them, from the runs under outputs/<profile>/runs; returns the
    paths written. UserError where the profile is unknown, has no finished run (for more than Table 1), or a
    record is damaged."""
    config.layers_of(profile, "")
    beyond = not set(names) <= set(tables.NAMES)
    spec, results = read_spec(beyond=beyond), comparison.read_results(outputs, profile)
    if not results.found and (with_claims or set(names) != {"table1"}):  # that one is about parameters
        raise UserError(
            f"no finished run under {outputs / profile / 'runs'}: run `make tables PROFILE={profile}` first"
        )
    texts = {}
    for name in names:
        rows = tables.build(spec, results, name, profile)
        view = readable(spec, name, rows, profile)
        texts |= {
            f"{name}.csv": as_csv(name, rows),
            f"{name}.md": as_markdown(view),
            f"{name}.html": as_html(view),
        }
    if with_claims:
        texts["claims.json"] = json.dumps(claims.decide(spec, results), indent=1, ensure_ascii=False) + "\n"
    return save(outputs / profile / "tables", texts)


def save(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Write texts by file name into `folder`, each atomically; returns their paths."""
    from esc_utils.files import write_atomic

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}): set outputs to a folder of yours"
        ) from None
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
    return [folder / name for name in texts]


def as_csv(name: str, rows: list[dict]) -> str:
    """Every column, percent and points with four decimals at most; empty where there is nothing."""
    if name == "table1":
        return csv_text(list(dict.fromkeys(key for row in rows for key in row)), rows)
    own = OPEN_COLUMNS if any(key in row for row in rows for key in OPEN_COLUMNS) else ()
    return csv_text((*COLUMNS, *own), rows)


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


def as_markdown(view: dict, notes: bool = True) -> str:
    """One table with its caption above and, unless they stand elsewhere on the page, its notes below."""
    lines = [f"### {view['title']}", "", view["caption"], "", *markdown_table(view)]
    if view["all_marks"]:
        lines += ["", f"All rows: notes {', '.join(map(str, view['all_marks']))}."]
    return "\n".join(lines + (["", markdown_notes([view])] if notes else [])).rstrip() + "\n"


def markdown_table(view: dict, marks: bool = True) -> list[str]:
    """The lines of a view's table, with or without the marks of its notes."""

    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"

    lines, group = [line(view["header"]), line(["---"] * len(view["header"]))], ""
    for name, row, own in zip(view["groups"], view["rows"], view["row_marks"], strict=True):
        if name != group:
            lines.append(line([f"*{name}*", *[""] * (len(row) - 1)]))
            group = name
        raised = f" <sup>[{', '.join(map(str, own))}]</sup>" if own and marks else ""
        lines.append(line([f"{row[0]}{raised}", *row[1:]]))
    return lines


def markdown_notes(views: list[dict]) -> str:
    """How to read the tables of a page, and all their notes, each once."""
    reading = dict.fromkeys(view["reading"] for view in views if view["reading"])
    lines = [*reading, *([""] if reading else [])]
    return "\n".join(lines + [f"- [{mark}] {text}" for mark, text in notes_of(views).items()])


def as_html(view: dict) -> str:
    """A page of its own, readable offline, from assets/table.html.j2."""
    return environment().get_template("table.html.j2").render(view=view, notes=notes_of([view]))


def claims_html(verdicts: list[dict]) -> str:
    """One line a claim with its verdict and numbers, the evidence folded under it."""
    return environment().get_template("macros.html.j2").module.claim_list(verdicts)


def environment():
    """Jinja2 over esc_suite/tables/assets, with everything escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "assets")
    made = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    made.filters["unbroken"] = unbroken
    made.globals |= {"glyphs": claims.VERDICTS, "level": level}
    return made


def unbroken(text: str) -> str:
    """Text in which no line breaks within an interval, a p value or a mark."""
    parts = r"\[-?\d[^\]]*\]|AUC [\d.]+|p [=<] [\d.e-]+|printed [+-]\S+|[✓✗?–] [a-z ]+"
    return re.sub(parts, lambda found: found[0].replace(" ", "\u00a0"), text)
