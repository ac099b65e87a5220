"""Listen to clips and correct their labels, written back into the table."""

from pathlib import Path

import numpy as np

from esc_suite import figures
from esc_suite.explore.html import audio, image
from esc_suite.label.clips import relabel
from esc_utils.audio import SAMPLE_RATE, decode


def label_editor(table: Path, dataset, store, labels):
    """Clips in the order of `labels` (path, label, confidence, indexed by row of the dataset): hear one, see
    its log-mel, choose its class, and keep it: the CSV `table` then has the label. A label counts for the
    beginning of its file, so files of several windows are not offered."""
    import ipywidgets as widgets

    whole = ~dataset.clips["file"].duplicated(keep=False)
    labels, others = labels[whole.loc[labels.index]], int((~whole.loc[labels.index]).sum())
    left_out = (
        f"{others} windows of longer files are not offered: cut a window out into a file of its own "
        "to label it"
    )
    if labels.empty:
        return widgets.HTML(left_out if others else "No clip is without a label.")
    named = [(f"{row.path}: {row.label} {row.confidence:.2f}", row.Index) for row in labels.itertuples()]
    clip = widgets.Dropdown(options=named, description="Clip", layout={"width": "460px"})
    kind = widgets.Dropdown(options=list(dataset.classes), description="Label")
    keep = widgets.Button(
        description="Keep label", tooltip="Write this label into the table and go to the next clip"
    )
    picture, sound, words = widgets.HTML(), widgets.HTML(), widgets.HTML(left_out if others else "")

    def show(_=None):
        row = dataset.clips.loc[clip.value]
        kind.value = labels.loc[clip.value, "label"]
        waveform = decode(row["path"], start=row["start"], seconds=row["duration"])
        drawn = figures.clip_view(
            waveform, SAMPLE_RATE, np.asarray(store[clip.value]), row["file"], synthesised=dataset.synthesised
        )
        picture.value = image(drawn, f"Waveform and log-mel of {row['file']}")
        sound.value = audio(waveform, SAMPLE_RATE, row["file"])

    def kept(_):
        name = dataset.clips.loc[clip.value, "file"]
        relabel(table, {name: kind.value})
        words.value = f"{name} is {kind.value} in {Path(table).name} now"
        clip.index = min(clip.index + 1, len(named) - 1)

    clip.observe(show, "value")
    keep.on_click(kept)
    show()
    return widgets.VBox(
        [widgets.HBox([clip, kind, keep], layout={"flex_flow": "row wrap"}), words, sound, picture]
    )
