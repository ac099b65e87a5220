"""One HTML page to check labels by ear: the most and the least sure clips of every class, with players and
log-mels."""

import base64
import io
from pathlib import Path

import jinja2
import numpy as np

from esc_suite.figures.style import spoken
from esc_utils.audio import SAMPLE_RATE, decode
from esc_utils.files import write_atomic

SHOWN = 3  # clips at each end, a class


def write(path: Path, labels, dataset, store, said: list[str]) -> None:
    """Write the page. labels: the table of labels.csv, doubtful clips first, indexed by row of the
    dataset."""
    classes = []
    for name in dataset.classes:
        own = labels.index[labels["label"] == name]
        doubtful = own[:SHOWN]
        sure = own[::-1][: min(SHOWN, len(own) - len(doubtful))]
        kinds = {"least sure": doubtful, "most sure": sure}
        parts = {
            kind: [_clip(labels.loc[at], dataset, store, at) for at in chosen]
            for kind, chosen in kinds.items()
        }
        classes.append({"name": spoken(name), "count": len(own), "parts": parts})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("esc_suite.label", "assets"), autoescape=True
    )
    page = environment.get_template("page.html.j2").render(
        said=said, classes=classes, clips=len(labels), synthesised=dataset.synthesised
    )
    write_atomic(path, page.encode())


def _clip(label, dataset, store, row: int) -> dict:
    clip = dataset.clips.iloc[row]
    waveform = decode(clip["path"], start=clip["start"], seconds=clip["duration"])
    words = f"{clip['file']}, {clip['start']:.1f} to {clip['end']:.1f} s"
    return {
        "title": words,
        "sound": _sound(waveform),
        "picture": _picture(np.asarray(store[row])),
    } | label.to_dict()


def _sound(waveform: np.ndarray) -> str:
    import soundfile

    sound = io.BytesIO()
    soundfile.write(sound, np.clip(waveform, -1, 1), SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return base64.b64encode(sound.getvalue()).decode()


def _picture(levels: np.ndarray) -> str:
    from matplotlib.image import imsave

    picture = io.BytesIO()
    imsave(picture, levels.astype(np.float32).T[::-1], cmap="magma", format="png")
    return base64.b64encode(picture.getvalue()).decode()
