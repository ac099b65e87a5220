"""Recordings of three classes as a user might have them, written in a moment: many formats, rates and
channels."""

from pathlib import Path

import numpy as np
import soundfile

from esc_utils.standins import sounds, urban

NAMES = ("dog_bark", "siren", "drilling")
FORMATS = {
    ".wav": ("WAV", "PCM_16", 44100), ".flac": ("FLAC", "PCM_16", 22050), ".ogg": ("OGG", "VORBIS", 32000),
    ".opus": ("OGG", "OPUS", 48000), ".mp3": ("MP3", "MPEG_LAYER_III", 16000),
}  # fmt: skip


def write(path: Path, name: str, number: int, seconds: float = 1.0, channels: int = 1) -> None:
    """One clip of a class of the synthesised sounds; number: another recording for each. The name's suffix is
    the format."""
    kind, subtype, rate = FORMATS[path.suffix]
    rng = np.random.default_rng([number, *name.encode()])
    recording = sounds.draw(sounds.narrowed(urban.URBAN[name], 0.3), rng)
    wave = sounds.render(recording, round(seconds * rate), rate, rng, 30.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate, subtype, format=kind)


def table(folder: Path, labelled: int = 3, unlabelled: int = 6, names=NAMES) -> Path:
    """A clips.csv of `labelled` clips a class and so many without a label, all formats in turn; returns its
    folder."""
    lines, kinds = ["path,label"], list(FORMATS)
    for number in range(labelled * len(names) + unlabelled):
        name, kind = names[number % len(names)], kinds[number % len(kinds)]
        label = name if number < labelled * len(names) else ""
        path = f"{'known' if label else 'new'}/{number:03}{kind}"
        write(folder / path, name, number, channels=1 + number % 2)
        lines.append(f"{path},{label}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return folder
