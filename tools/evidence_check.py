"""What a file of the evidence must not hold: places of a machine, audio."""

import base64
import json
import re
from pathlib import Path

import numpy as np

PREDICTIONS = "predictions.npz"  # with these, tables, intervals and curves can be made again without training
# A file name of this machine: not after a word, a dot or another slash, so that "clips/run" and "../data" are
# none.
ABSOLUTE = re.compile(
    r"(?<![\w.~/<*+-])/(?:bin|content|data|dev|etc|home|lustre|media|mnt|opt|private|proc|root|run|scratch|shared|srv"
    r"|tmp|usr|var|work|workspace|Users|Volumes)\b[\w./-]*|\"/(?!kaggle/)[A-Za-z][^\"]*|\bfile:/[^\"\s]*|\b[A-Z]:\\\\[\w\\]*"
)
AUDIO = re.compile(r"data:audio|\"audio/|<audio")


def complaints(path: Path) -> list[str]:
    """What a file of the evidence must not hold."""
    if path.suffix not in (".png", ".json", ".csv", ".ipynb") and path.name != PREDICTIONS:
        return [f"{path.suffix or 'such'} files are no evidence"]
    if path.suffix == ".png":
        text = png_words(path.read_bytes())
    elif path.name == PREDICTIONS:
        text = names_in(path)
    else:
        text = path.read_text(encoding="utf-8")
    found = [f"names a place of a machine: {m[0][:80]}" for m in ABSOLUTE.finditer(_without_pictures(text))]
    return found + [f"holds audio: {m[0]}" for m in AUDIO.finditer(text)]


def names_in(predictions: Path) -> str:
    """Every text in the arrays of a run's predictions: the names of its clips, relative to the dataset."""
    with np.load(predictions, allow_pickle=False) as arrays:
        return "\n".join(word for name in arrays if arrays[name].dtype.kind == "U" for word in arrays[name])


def png_words(data: bytes) -> str:
    """Everything in a PNG that is neither picture nor palette, such as comments, as text."""
    words, at = [], 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind not in (b"IHDR", b"PLTE", b"tRNS", b"pHYs", b"IDAT", b"IEND"):
            words.append(data[at + 4 : at + 8 + length].decode("utf-8", errors="replace"))
        at += length + 12
    return " ".join(words)


def _without_pictures(text: str) -> str:
    """Text with the words that its pictures hold in place of their base64, which may look like anything."""

    def told(found):
        data = base64.b64decode(re.sub(r"\\n|[\s\",\[\]]", "", found[1]))
        return '"image/png": ' + json.dumps(png_words(data))

    return re.sub(r'"image/png": (\[[^\]]*\]|"[^"]*")', told, text)
