"""UrbanSound8K.csv, the index of all clips, as a checked table."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import UserError

if TYPE_CHECKING:
    import pandas

CLASSES = (
    "air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling",
    "engine_idling", "gun_shot", "jackhammer", "siren", "street_music",
)  # fmt: skip
FOLDS = tuple(range(1, 11))
COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")


def read_index(csv: Path) -> "pandas.DataFrame":
    """The CSV as a checked table sorted by file name. Accepts the copies in the wild: `class_name` for
    `class`, CRLF, no header. UserError names the line where a value is impossible or disagrees with the file
    name."""
    import pandas

    try:
        with csv.open(encoding="utf-8-sig") as lines:
            first = lines.readline().strip()
        header = 0 if "slice_file_name" in first else None
        table = pandas.read_csv(csv, header=header, encoding="utf-8-sig", skipinitialspace=True)
    except OSError as error:
        raise UserError(f"{csv} cannot be read ({error.strerror}): check its permissions") from None
    except (ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{csv} is not a CSV table ({reason}): take the official one") from None
    if header is None and table.shape[1] == len(COLUMNS):
        table.columns = list(COLUMNS)
    if "class" not in table.columns:
        table = table.rename(columns={"class_name": "class"})
    lacking = [name for name in COLUMNS if name not in table.columns]
    if lacking:
        raise UserError(f"{csv} lacks the columns {', '.join(lacking)}: it must have {', '.join(COLUMNS)}")
    if table.empty:
        raise UserError(f"{csv} lists no clips: take the official file")
    first_line = 1 if header is None else 2
    _check_rows(csv, table, first_line)
    clips = pandas.DataFrame({"file": table["slice_file_name"].astype(str)})
    clips[["fsid", "class_id"]] = table[["fsID", "classID"]].astype("int64")
    clips["class_name"] = [CLASSES[i] for i in clips["class_id"]]
    clips[["fold", "salience"]] = table[["fold", "salience"]].astype("int64")
    clips[["start", "end"]] = table[["start", "end"]].astype(float)
    clips["duration"] = clips["end"] - clips["start"]
    return clips.sort_values("file", kind="stable", ignore_index=True)


def _check_rows(csv: Path, table: "pandas.DataFrame", first_line: int) -> None:
    import pandas

    lines = np.arange(len(table)) + first_line
    refuse = partial(refuse_row, csv, table, lines, "slice_file_name")
    for column in ("fsID", "start", "end", "salience", "fold", "classID"):
        numbers = pandas.to_numeric(table[column], errors="coerce")
        wrong = numbers.isna() | (numbers.abs() >= 2**53)  # beyond it a float holds no whole numbers
        wrong |= False if column in ("start", "end") else numbers % 1 != 0
        refuse(wrong, f"{column} is '{{{column}}}', not a number: take the official CSV")
        table[column] = numbers
    refuse(~table["fold"].isin(FOLDS), "fold is {fold}, must be 1 to 10")
    refuse(~table["classID"].isin(range(len(CLASSES))), "classID is {classID}, must be 0 to 9")
    expected = table["classID"].map(lambda i: CLASSES[int(i)])
    other = table["class"].astype(str).str.strip() != expected
    refuse(other, "class '{class}' and classID {classID} disagree")
    parts = table["slice_file_name"].astype(str).str.extract(r"^(\d+)-(\d+)-\d+-\d+\.wav$")
    refuse(parts[0].isna(), "the file name is not fsID-classID-occurrence-slice.wav")
    refuse(parts[1].astype(float) != table["classID"], "the file name and classID {classID} disagree")
    refuse(parts[0].astype(float) != table["fsID"], "the file name and fsID {fsID} disagree")
    refuse(table["end"] < table["start"], "it ends at {end} s before it starts at {start} s")
    refuse(table["slice_file_name"].duplicated(), "the clip is listed twice: remove one of the lines")


def refuse_row(csv: Path, table: "pandas.DataFrame", lines, name: str, bad, why: str) -> None:
    """UserError with the line and the clip (column `name`) of the first bad row, if there is one; `why` may
    name columns in braces."""
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        row = table.iloc[at]
        raise UserError(f"{csv}, line {lines[at]} ({row[name]}): {why.format(**row)}")
