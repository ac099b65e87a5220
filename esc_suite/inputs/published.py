"""What is known of UrbanSound8K as it was published: sizes of its folds, and recordings that folds share."""

from typing import TYPE_CHECKING

from esc_utils.dataset import Dataset
from esc_utils.errors import UserError

if TYPE_CHECKING:
    import pandas

# The official folds share these five recordings, always with different classes (read off the official CSV).
KNOWN_SHARED = {106905: {1, 8}, 132016: {1, 4}, 176638: {1, 4}, 180937: {1, 9}, 77751: {2, 7}}
# Clips of each fold of the official CSV.
FOLD_SIZES = dict(enumerate((873, 888, 925, 990, 936, 823, 838, 806, 816, 837), start=1))
CLIPS = sum(FOLD_SIZES.values())


def leak_check(dataset: Dataset) -> "pandas.DataFrame":
    """Recordings that lie in more than one fold: columns fsid, folds, classes, clips. The official folds
    share five, with different classes; any other is a leak and raises UserError, as does one of the five in
    other folds."""
    groups = dataset.clips.groupby("fsid")
    shared = groups.filter(lambda rows: rows["fold"].nunique() > 1).groupby("fsid")
    table = shared.agg(
        folds=("fold", lambda f: tuple(sorted(set(f)))),
        classes=("class_name", lambda c: tuple(sorted(set(c)))),
        clips=("file", "size"),
    ).reset_index()
    for row in table.itertuples():
        if dataset.synthesised or set(row.folds) != KNOWN_SHARED.get(row.fsid):
            raise UserError(
                f"recording {row.fsid} lies in folds {row.folds}: folds leak, use the official folds of "
                "UrbanSound8K.csv"
            )
    return table
