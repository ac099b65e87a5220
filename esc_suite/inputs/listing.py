"""Which recordings there are, as text: a CSV of clips, or a folder of class folders.

The CSV has a header and one line a clip. Columns: path (relative to the CSV), label (empty: unlabelled), and,
where there are any, recording (what must not be split between folds) and fold (1 to 10). Other columns are
ignored. In a folder the first folder of a path is the label (`unlabelled`, or none, for clips without one)
and the second is the recording, which is the same one under every label."""

import csv
import unicodedata
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from esc_utils.contents import visible
from esc_utils.errors import UserError
from esc_utils.index import refuse_row
from esc_utils.paths import place

if TYPE_CHECKING:
    import pandas

COLUMNS = ("path", "label", "recording", "fold")
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
UNLABELLED = ("", "unlabelled", "unlabeled")  # folders whose clips have no label


def read_table(data: str) -> tuple["pandas.DataFrame", Path]:
    """The table as text (path, label, recording, fold; empty where there is none), and the folder that paths
    start from. `data`: a CSV, a folder with a clips.csv, or a folder of class folders."""
    if not data or not (at := place(data)).exists():
        where = f"{data} ({at} is not there)" if data else "given"
        raise UserError(f"no table of clips {where}: set data_dir (DATA= for make) to a CSV or a folder")
    if at.is_dir() and not (at / "clips.csv").is_file():
        return _class_folders(at), at.resolve()
    file = at / "clips.csv" if at.is_dir() else at
    return _read_csv(file), file.parent.resolve()


def _class_folders(root: Path) -> "pandas.DataFrame":
    import pandas

    files = [path.relative_to(root) for path in visible(root, "*") if path.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(
            f"no clips.csv and no audio files in {root}: give a CSV, or a folder with one folder a class"
        )
    rows = []
    for path in files:
        label, recording = (*path.parts[:-1], "", "")[:2]
        rows.append((path.as_posix(), label, recording, ""))
    return _spelled(pandas.DataFrame(rows, columns=list(COLUMNS)), [f"{root}"] * len(rows))


def _read_csv(path: Path) -> "pandas.DataFrame":
    import pandas

    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            separator = separator_of(first := text.readline())
            names = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])]
            if "path" not in names or "label" not in names:
                first = first.strip()[:80]
                raise UserError(f"{path} lacks a column path or label in its first line ({first}): add it")
            if doubled := [name for name in COLUMNS if names.count(name) > 1]:
                raise UserError(f"{path} has two columns '{doubled[0]}': rename one of them")
            rest = csv.reader(text, delimiter=separator, strict=True)
            rows = [(rest.line_num + 1, row) for row in rest if any(map(str.strip, row))]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check its permissions") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV table in UTF-8 ({error}): save it as one") from None
    for line, row in rows:
        if any(map(str.strip, row[len(names) :])):
            found = f"{path}, line {line} has {len(row)} cells, the first line {len(names)}"
            raise UserError(f"{found}: put a text that holds '{separator}' into quotes")
    cells = [dict(zip(names, map(str.strip, row), strict=False)) for _, row in rows]
    table = pandas.DataFrame(cells, columns=list(COLUMNS), dtype=str).fillna("")
    used = (table != "").any(axis=1).to_numpy()
    table, lines = table[used].reset_index(drop=True), np.array([line for line, _ in rows])[used]
    table = _spelled(table, [f"{path}, line {line}" for line in lines])
    _check(path, table, lines)
    return table


def separator_of(first: str) -> str:
    """What parts the cells of a table, told from its first line: commas, semicolons or tabs."""
    return max(",;\t", key=first.count)


def _spelled(table: "pandas.DataFrame", where: list[str]) -> "pandas.DataFrame":
    """The table in one spelling: an umlaut is one character (macOS writes two), no label is "", fold 1.0, as
    pandas writes it, is 1. UserError, with `where` it stands, for a text that cannot be printed."""
    for column in COLUMNS[:3]:
        for at, text in zip(where, table[column], strict=True):
            if not text.isprintable():  # a line break, or bytes that are no UTF-8
                raise UserError(
                    f"{at}: the {column} {text!r} has characters that cannot be printed: rename it"
                )
    names = {column: table[column].map(partial(unicodedata.normalize, "NFC")) for column in COLUMNS[1:3]}
    table = table.assign(**names, fold=table["fold"].str.replace(r"^0*(\d+)(\.0*)?$", r"\1", regex=True))
    table["label"] = table["label"].mask(table["label"].str.lower().isin(UNLABELLED), "")
    return table


def _check(file: Path, table: "pandas.DataFrame", lines: np.ndarray) -> None:
    refuse = partial(refuse_row, file, table, lines, "path")
    if table.empty:
        raise UserError(f"{file} lists no clips: write one line a clip, its path and its label")
    refuse(table["path"] == "", "it names no file: fill in its path, or remove the line")
    refuse(table["path"].duplicated(), "the clip is listed twice: remove one of the lines")
    labelled, folds = table["label"] != "", table["fold"]
    if (folds[labelled] == "").all():
        return
    wrong = labelled & ~folds.isin([str(k) for k in range(1, 11)])
    refuse(wrong, "fold is '{fold}', must be 1 to 10 for a labelled clip")
    of = folds[labelled & (table["recording"] != "")].groupby(table["recording"])
    leaks = set(of.nunique()[lambda count: count > 1].index)
    leaking = labelled & table["recording"].isin(leaks)
    refuse(leaking, "recording '{recording}' lies in two folds: put it into one")
