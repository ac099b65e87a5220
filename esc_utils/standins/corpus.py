"""The corpus of the backbone: many classes of synthesised sound, for pretraining the backbone that stands in
PANN's place.

Shared with the dataset: the renderer (`sounds.render`) with its noise, gain and devices, as AudioSet and
UrbanSound8K share microphones and streets. Not shared: the classes, which are random regions of the wide
families below, never those of `urban.URBAN`; and the random streams, so no recording of the one is in the
other. As AudioSet contains dogs and sirens, some broad classes resemble one of the ten; none has its name,
its borders or its recordings.
"""

import numpy as np

from ..standins import sounds

_CLASS, _RECORDING, _SLICE = range(11, 14)  # first words of the seed sequences; synthetic.py has 1 to 3
SLICES = 2  # clips a recording

# Whole families; a class is a small region of one of them, or of two sounding together.
FAMILIES = {
    "tone": {"f0": (60, 3000), "tilt": (-18, 2),
             "chord": [(1.0,), (1.0, 1.2), (1.0, 1.33), (1.0, 1.5), (1.0, 2.7)], "noise": (0, 0.5),
             "rate": (0.3, 40), "depth": (0, 1), "formants": [0, 1, 2, 3], "span": (0, 0.4)},
    "hiss": {"noise": (0.75, 1), "tilt": (-10, 4), "low": (40, 3000), "high": (800, 8000), "rate": (0.3, 60),
             "depth": (0, 1), "formants": [0, 1, 2, 3], "formant_low": (200, 6000)},
    "motor": {"f0": (18, 500), "noise": (0.1, 0.9), "tilt": (-14, 3), "rate": (0.5, 60), "depth": (0, 0.9),
              "low": (40, 2500), "high": (700, 8000), "formants": [0, 1, 2, 3], "formant_low": (200, 5000),
              "span": (0, 0.4)},
    "sweep": {"f0": (150, 2500), "tilt": (-18, 0), "pitch": ["sine", "triangle", "saw", "twotone"],
              "pitch_rate": (0.2, 12), "span": (0.1, 1.8), "noise": (0, 0.4), "depth": (0, 0.8),
              "rate": (0.5, 20)},
    "notes": {"f0": (80, 1400), "tilt": (-18, 0), "pitch": ["steps"], "pitch_rate": (1, 14),
              "span": (0.2, 1.9), "chord": [(1.0,), (1.0, 2.0), (1.0, 1.26, 1.5), (1.0, 1.5)],
              "envelope": ["am", "events"], "rate": (1, 14), "depth": (0, 1), "hold": (0.01, 0.4),
              "decay": (0.02, 0.5), "voices": [1, 2, 3], "noise": (0, 0.4), "formants": [0, 1, 2]},
    "calls": {"f0": (100, 2500), "tilt": (-14, 0), "envelope": ["events"], "rate": (0.5, 9),
              "jitter": (0.02, 0.8), "glide": (-1.5, 1.5), "attack": (0.002, 0.08), "hold": (0.01, 0.6),
              "decay": (0.01, 0.3), "noise": (0, 0.7), "voices": [1, 1, 2, 3, 4],
              "pitch": ["drift", "steps", "sine"], "span": (0, 0.9), "pitch_rate": (0.5, 12),
              "formants": [0, 1, 2, 3], "formant_low": (300, 4500)},
    "hits": {"noise": (0.3, 1), "f0": (50, 1500), "tilt": (-12, 3), "envelope": ["events"], "rate": (0.5, 50),
             "jitter": (0.01, 0.8), "attack": (0.0005, 0.02), "hold": (0.001, 0.05), "decay": (0.004, 0.4),
             "low": (40, 3000), "high": (1500, 8000), "formants": [0, 1, 2, 3], "formant_low": (200, 6000)},
}  # fmt: skip


def corpus_class(number: int, seed: int) -> tuple[dict, ...]:
    """Definition of one class: each region of one or two families narrowed to a tenth to two fifths of its
    width."""
    rng = np.random.default_rng([_CLASS, seed, number])
    names = list(FAMILIES)
    layers = [_narrow(FAMILIES[names[number % len(names)]], rng)]
    if rng.random() < 0.4:
        layers.append(_narrow(FAMILIES[names[rng.integers(len(names))]], rng) | {"level": (-12.0, 0.0)})
    return tuple(layers)


def _narrow(family: dict, rng: np.random.Generator) -> dict:
    layer = {}
    for key, region in (sounds.DEFAULTS | family).items():
        if isinstance(region, list):
            layer[key] = [region[rng.integers(len(region))]]
        elif isinstance(region, tuple) and region[0] < region[1]:
            share = rng.uniform(0.1, 0.4)
            start = rng.uniform(0, 1 - share)
            low, high = np.log(region) if key in sounds.LOG or key == "formant_low" else region
            ends = low + np.array([start, start + share]) * (high - low)
            layer[key] = tuple(np.exp(ends) if key in sounds.LOG or key == "formant_low" else ends)
        else:
            layer[key] = region
    return layer


def render_corpus(
    clips: int,
    clip_seconds: float = 1.28,
    sample_rate: int = 16000,
    seed: int = 0,
    classes: int = 70,
    part: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """`clips` clips, the classes in turn: waveforms (clips, samples) float32, labels (clips,) int64.

    A pure function of its arguments. `part`: another part holds other recordings of the same classes (for
    held-out scores, and to work through a large corpus in pieces). Clips may be shorter than the window and
    are padded with zeros.
    """
    samples = round(clip_seconds * sample_rate)
    waves = np.zeros((clips, samples), dtype=np.float32)
    labels = np.arange(clips) % classes
    definitions = [corpus_class(number, seed) for number in range(classes)]
    for i, label in enumerate(labels):
        turn = i // classes
        key = [seed, int(label), part, turn // SLICES]
        rng = np.random.default_rng([_RECORDING, *key])
        recording = sounds.draw(definitions[label], rng)
        snr = rng.uniform(0.0, 32.0)
        rng = np.random.default_rng([_SLICE, *key, turn % SLICES])
        length = samples if rng.random() < 0.8 else round(samples * rng.uniform(0.25, 0.95))
        distractor = sounds.draw(definitions[rng.integers(classes)], rng) if rng.random() < 0.15 else None
        waves[i, :length] = sounds.render(
            recording, length, sample_rate, rng, snr + rng.normal(0, 2), distractor
        )
    return waves, labels
