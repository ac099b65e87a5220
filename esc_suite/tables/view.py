"""What a reader sees of a table: six columns, whatever all rows share in the caption, remarks and ledger
lines by mark."""

import string

from esc_suite.results import comparison
from esc_suite.results.comparison import short_name
from esc_suite.tables import rows as tables

HEADER = ["Row", "Paper", "Ours", "To the baseline", "To the control", "Mark"]
OPEN_HEADINGS = {"open_auroc": "Known against unknown, AUROC", "open_accepted": "Unknown clips accepted, %"}
MARKS = {
    "supported": "✓ as printed", "contradicted": "✗ the other "
                                                 "way", "undecided": "? undecided", "blocked": "– blocked",
    "above": "✓ above", "below": "✗ below",
}  # fmt: skip
NO_RUN = "—"
READING = (
    "How to read the tables: accuracy and, below it, AUC in percent, of the validation fold at the last "
    "epoch. "
    "The baseline is the row that is named, the control is the FixMatch row's own; both columns are "
    "differences "
    "in accuracy, in points, paired by clips or folds. The mark says whether a difference has the direction "
    "of "
    "the printed one (of the control: is above), with p by Holm over the table's marks and claims. A row "
    "without "
    "printed numbers is not in the paper."
)


def readable(spec: dict, name: str, rows: list[dict], profile: str) -> dict:
    """What Markdown and HTML show of one table: title, caption (what audio, and what is the same in all
    rows), header, rows of strings, and of each row the marks of its notes: ledger lines by number, remarks by
    letter.

    rows: of `tables.rows.build`, or of a CSV file made from them (`from_csv`). Several on one page:
    `lettered`."""
    table = spec["tables"][name]
    facts = [(_specaugment_facts if name == "table1" else _run_facts)(row) for row in rows]
    same, differing = _same_and_differing(facts)
    body = [_specaugment(row) for row in rows] if name == "table1" else _scores(rows)
    remarks = [
        [*filter(None, [", ".join(own)]), *_remarks(row), *_blocks(row)]
        for row, own in zip(rows, differing, strict=True)
    ]
    numbers = set(table.get("footnotes", [])) | {n for row in table["rows"] for n in row.get("footnotes", [])}
    changes = "" if name == "table1" else tables.changed_method(profile)
    header = TABLE1 if name == "table1" else HEADER
    if table.get("ours"):  # nothing printed to stand beside
        header, *body = [[first, *rest] for first, _, *rest in (header, *body)]
    if table.get("open_set"):
        header = [*header[:2], *OPEN_HEADINGS.values(), *header[2:]]
        body = [[*cells[:2], *_open_set(row), *cells[2:]] for cells, row in zip(body, rows, strict=True)]
    view = {
        "name": name,
        "title": f"Table {name[-1]}. {table['title']}",
        "profile": profile,
        "synthesised": any(comparison.SYNTHESISED in row["data"] for row in rows),
        "caption": _caption(name, rows, profile, same),
        "reading": "" if name == "table1" else READING,
        "header": header,
        "rows": body,
        "marks": [[int(n) for n in (row.get("footnotes") or "").split()] for row in rows],
        "remarks": remarks,
        "groups": [row.get("group") or "" for row in rows],
        "notes": {number: spec["ledger_notes"][number] for number in sorted(numbers)},
        "general": table.get("footnotes", []),
        "common": [f"beyond scale this profile changes {changes}"] if changes else [],
    }
    return lettered([view])[0]


def lettered(views: list[dict]) -> list[dict]:
    """Views of one page, with one letter a remark for all of them: `letters` {letter: remark} of each view's
    own remarks, `row_marks` of each row, `all_marks` of all rows."""
    every = dict.fromkeys(
        text
        for view in views
        for texts in (*view["remarks"], _shared(view["remarks"]), view["common"])
        for text in texts
    )
    letter_of = dict(zip(every, _letters(), strict=False))
    done = []
    for view in views:
        shared = _shared(view["remarks"])
        own = [[text for text in texts if text not in shared] for texts in view["remarks"]]
        used = {text for texts in (*own, shared, view["common"]) for text in texts}
        done.append(
            view
            | {
                "letters": {letter: text for text, letter in letter_of.items() if text in used},
                "row_marks": [
                    [*marks, *(letter_of[text] for text in texts)]
                    for marks, texts in zip(view["marks"], own, strict=True)
                ],
                "all_marks": [*view["general"], *(letter_of[text] for text in [*shared, *view["common"]])],
            }
        )
    return done


def notes_of(views: list[dict]) -> dict:
    """All notes of a page with these (lettered) views: {mark: text}, letters first, each once."""
    letters = {mark: text for view in views for mark, text in view["letters"].items()}
    return dict(sorted(letters.items(), key=lambda item: (len(item[0]), item[0]))) | dict(
        sorted(item for view in views for item in view["notes"].items())
    )


def _shared(remarks: list[list[str]]) -> list[str]:
    """Remarks that all rows of a table have."""
    return (
        [text for text in remarks[0] if all(text in texts for texts in remarks)] if len(remarks) > 1 else []
    )


def _letters():
    """a ... z, aa ... zz, aaa ..."""
    times = 1
    while True:
        yield from (letter * times for letter in string.ascii_lowercase)
        times += 1


def _remarks(row: dict) -> list[str]:
    """What there is to say of a row, without what a dagger says."""
    texts = row["remarks"] if "remarks" in row else (row.get("note") or "").split("; ")
    return [text for text in texts if text and not text.endswith("stands in place of PANN")]


def _blocks(row: dict) -> list[str]:
    """Why a comparison of this row decides nothing."""
    reasons = [(row.get("blocked"), "baseline"), (row.get("control_blocked"), "control")]
    texts = dict.fromkeys(text for text, _ in reasons if text)
    return [f"blocked: {text}" for text in texts]


def _same_and_differing(facts: list[list[str] | None]) -> tuple[list[str], list[list[str]]]:
    """Facts of the rows in words (None: a row without runs) -> what is the same in all, and the rest of each
    row."""
    known = [row for row in facts if row]
    if not known:
        return [], [[] for _ in facts]
    same = [words for at, words in enumerate(known[0]) if len({row[at] for row in known}) == 1]
    return same, [[words for words in row or [] if words not in same] for row in facts]


def _caption(name: str, rows: list[dict], profile: str, same: list[str]) -> str:
    data = "; ".join(dict.fromkeys(row["data"] for row in rows if row["data"]))
    words = [f"Profile {profile}."]
    if comparison.SYNTHESISED in data:
        words.append(
            "Numbers from synthesised audio: they show that the suite works and reproduce nothing of the "
            "paper."
        )
    elif data:
        words.append(f"Data: {data}.")
    if same:
        words.append(f"Each row {'has' if name == 'table1' else 'that was run has'} {', '.join(same)}.")
    if name == "table1":
        return " ".join(words)
    over = dict.fromkeys(str(row["interval"]) for row in rows if row.get("interval"))
    words += [f"Brackets: {'; '.join(over)}."] if over else []
    words += [f"{words}." for words in comparison.daggers(rows)]
    short = sorted(
        {
            row["folds"]
            for row in rows
            if row.get("folds") and row["folds"].split()[0] != row["folds"].split()[2]
        }
    )
    if short:
        words.append(f"Not all runs are there: {', '.join(short)} folds.")
    return " ".join(words)


def _run_facts(row: dict) -> list[str] | None:
    """What ran in a row, in words; None where nothing did."""
    if not row.get("clips"):
        return None
    seeds, spread = row["seeds"], row["accuracy_seed_deviation"]
    deviation = "" if spread is None else f" (accuracy deviates by {spread:.1f} between them)"
    return [
        f"{row['folds']} fold{'' if row['folds'].endswith(' 1') else 's'}",
        f"{row['clips']} clips of {row['recordings']} recordings",
        f"{seeds} seed{'' if seeds == '1' else 's'}{deviation}",
        f"{row['steps']} steps",
    ]


def number(value: float | None) -> str:
    """Two decimals, as the paper prints, or a dash where there is nothing."""
    return NO_RUN if value is None else f"{value:.2f}"


def level(value, low=None, high=None, sign: str = "") -> str:
    """A score or difference with its interval, one decimal."""
    if value is None:
        return NO_RUN
    return f"{value:{sign}.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def _scores(rows: list[dict]) -> list[list[str]]:
    return [
        [
            short_name(row["row"]),
            _two(number(row["paper_accuracy"]), number(row["paper_auc"])),
            _two(*(level(row[m], row[f"{m}_low"], row[f"{m}_high"]) for m in ("accuracy", "auc"))),
            _to_baseline(row),
            level(*(row.get(f"control_{key}") for key in ("difference", "low", "high")), sign="+"),
            _marks(row),
        ]
        for row in rows
    ]


def _open_set(row: dict) -> list[str]:
    return [level(*(row.get(f"{name}{end}") for end in ("", "_low", "_high"))) for name in OPEN_HEADINGS]


def _two(accuracy: str, auc: str) -> str:
    return accuracy if auc == NO_RUN else f"{accuracy}\nAUC {auc}"


def _to_baseline(row: dict) -> str:
    keys = ("accuracy_difference", "accuracy_difference_low", "accuracy_difference_high")
    if row.get(keys[0]) is None:
        return NO_RUN
    printed = row["paper_accuracy_difference"]
    told = f"{short_name(row['baseline'])}: {level(*(row[key] for key in keys), sign='+')}"
    return told + ("" if printed is None else f"\nprinted {printed:+.2f}")


def _marks(row: dict) -> str:
    """The mark of each comparison that has runs, with its p."""
    told = []
    for key, prefix in (("accuracy_difference", ""), ("control_difference", "control_")):
        if row.get(key) is not None:
            p = row.get(f"{prefix}p_holm")
            chance = "" if p is None else f", {comparison.p_words(p)}"
            told.append(f"{'control: ' if prefix else ''}{MARKS[row[f'{prefix}mark']]}{chance}")
    return "\n".join(told) or NO_RUN


TABLE1 = [
    "View",
    "Paper, width x stripes",
    "Masked at that",
    "Ours, width x stripes",
    "Masked, expected",
    "Masked, measured",
]


def _specaugment(row: dict) -> list[str]:
    def stripes(prefix):
        shown = [
            f"{word} {row[f'{prefix}{axis}_width']} x {row[f'{prefix}{axis}_stripes']}" for word, axis in AXES
        ]
        return "\n".join(shown)

    masked = [f"{row[key]:.1f}%" for key in ("paper_masked_expected", "masked_expected", "masked_measured")]
    return [row["row"], stripes("paper_"), masked[0], stripes(""), *masked[1:]]


AXES = (("frequency", "freq"), ("time", "time"))


def _specaugment_facts(row: dict) -> list[str]:
    return [
        f"{row['frames']} x {row['mels']} frames x mels",
        f"its measured share from {row['measured_on']}",
        f"its setting from {row['parameters']}",
    ]


TEXTS = (
    "row", "experiment", "baseline", "control", "mark", "blocked", "control_mark", "control_blocked", "folds",
    "fold_list", "seeds", "steps", "interval", "group", "data", "footnotes", "note", "network", "clips",
    "recordings",
)  # fmt: skip


def from_csv(row: dict[str, str]) -> dict:
    """A line of a table's CSV file as `readable` takes it: numbers, texts, None where there is nothing."""
    return {key: value if key in TEXTS else _value(value) for key, value in row.items()}


def _value(text: str):
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text
