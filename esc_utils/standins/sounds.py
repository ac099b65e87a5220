"""Parametrised families of sound: what the synthesised dataset and the backbone's broad corpus are rendered
from.

A *sound class* is a tuple of layers, a layer a dict of regions: `(low, high)` is a range to draw from
(log-uniform for the keys of `LOG`), a list holds alternatives. `draw` picks one *recording* out of a class
(its timbre, tempo, device); `render` makes one clip of it, with its own events, phases and noise. Regions are
wide and overlap, so a handful of recordings says little about a class.
"""

import numpy as np

TABLE = 2048  # samples of a wave table (one period)
PARTIALS = 100
LOG = {"f0", "rate", "pitch_rate", "attack", "hold", "decay", "low", "high"}

# Every key of a layer, at the value it has where a class says nothing.
DEFAULTS = {
    "level": 0.0,  # dB against the first layer
    "noise": (0.0, 0.1),  # share of noise in the source, the rest is a harmonic stack
    "f0": (100.0, 400.0),  # Hz
    "tilt": (-12.0, -4.0),  # dB per octave, of the harmonics and of the noise
    "ragged": (1.0, 6.0),  # dB, spread of the single harmonics
    "chord": [(1.0,)],  # frequency ratios sounding together
    "voices": [1],  # independent copies, a babble
    "pitch": ["drift"],  # drift, sine, triangle, saw, twotone, steps
    "pitch_rate": (0.5, 2.0),  # sweeps or steps per second
    "span": (0.0, 0.05),  # octaves the pitch covers
    "glide": (0.0, 0.0),  # octaves the pitch moves within one event
    "envelope": ["am"],  # am, events
    "rate": (1.0, 8.0),  # Hz: amplitude modulation, or events per second
    "depth": (0.0, 0.2),  # of the amplitude modulation
    "jitter": (0.0, 0.1),  # of the events' times and strengths, as a fraction
    "attack": (0.002, 0.02),  # s
    "hold": (0.05, 0.2),  # s
    "decay": (0.02, 0.1),  # s
    "low": (60.0, 150.0),  # Hz, band of the noise
    "high": (2000.0, 7000.0),
    "formants": [0, 1],  # number of resonances
    "formant_low": (300.0, 3000.0),  # Hz, where resonances lie
    "formant_gain": (6.0, 20.0),  # dB
    "formant_q": (2.0, 8.0),
}


def narrowed(sound: tuple[dict, ...], share: float) -> tuple[dict, ...]:
    """A class whose ranges have `share` of their width, about their middle: its recordings are more alike."""
    return tuple({key: _narrow(key, region, share) for key, region in layer.items()} for layer in sound)


def _narrow(key: str, region, share: float):
    if not isinstance(region, tuple) or len(region) != 2 or not region[0] < region[1]:
        return region
    low, high = np.log(region) if key in LOG and region[0] > 0 else region
    ends = (low + high) / 2 + share * (high - low) / 2 * np.array([-1, 1])
    return tuple(float(end) for end in (np.exp(ends) if key in LOG and region[0] > 0 else ends))


def draw(sound: tuple[dict, ...], rng: np.random.Generator, colour: float = 3.0) -> dict:
    """One recording of a sound class: every region narrowed to a value, plus the device it was recorded with,
    whose frequency response deviates by `colour` dB.

    Returns {"layers": [...], "device": ..., "background": ...}, all that the slices of the recording share.
    """
    return {
        "layers": [_draw_layer(DEFAULTS | layer, rng) for layer in sound],
        "device": {
            "low_cut": float(np.exp(rng.uniform(np.log(30), np.log(250)))),  # Hz
            "high_cut": float(np.exp(rng.uniform(np.log(3500), np.log(9000)))),
            "curve": rng.normal(0.0, colour, size=9),  # dB at nine points, evenly spaced in octaves
        },
        "background": {
            "tilt": rng.uniform(-9.0, 0.0),
            "rate": rng.uniform(0.2, 3.0),
            "depth": rng.uniform(0.0, 0.5),
        },
    }


def _pick(key: str, region, rng: np.random.Generator):
    if isinstance(region, list):
        return region[rng.integers(len(region))]
    if not isinstance(region, tuple):
        return region
    low, high = region
    return float(np.exp(rng.uniform(np.log(low), np.log(high))) if key in LOG else rng.uniform(low, high))


def _draw_layer(layer: dict, rng: np.random.Generator) -> dict:
    values = {key: _pick(key, region, rng) for key, region in layer.items()}
    values["partials"] = rng.standard_normal(PARTIALS)
    count = values["formants"]
    centre = np.exp(rng.uniform(*np.log(layer["formant_low"]), size=count))
    values["resonances"] = [
        (
            f,
            f / _pick("formant_q", layer["formant_q"], rng),
            _pick("formant_gain", layer["formant_gain"], rng),
        )
        for f in centre
    ]
    return values


def render(
    recording: dict,
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    snr: float,
    distractor: dict | None = None,
) -> np.ndarray:
    """One clip of a recording: (samples,) float32, peak at most 1.

    `snr` in dB is the level of the sound against its background noise, the sound measured where it is loudest
    (the loudest twentieth of the clip), so a short shot is not drowned. `distractor`, another recording,
    plays 6 to 14 dB below the sound. The device's frequency response colours everything.
    """
    sound = _mix_layers(recording["layers"], samples, sample_rate, rng)
    if distractor is not None:
        other = _mix_layers(distractor["layers"], samples, sample_rate, rng)
        sound += other / _loudness(other) * _loudness(sound) * 10 ** (-rng.uniform(6.0, 14.0) / 20)
    background, time = recording["background"], np.arange(samples) / sample_rate
    noise = rng.standard_normal(samples)
    noise *= 1 - background["depth"] * (
        0.5 + 0.5 * np.sin(2 * np.pi * (background["rate"] * time + rng.random()))
    )
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate)
    spectrum = np.fft.rfft(noise) * _tilt(frequency, background["tilt"])
    noise = np.fft.irfft(spectrum, samples)
    sound = sound / _loudness(sound) + noise / np.sqrt(np.mean(noise**2)) * 10 ** (-snr / 20)
    coloured = np.fft.irfft(np.fft.rfft(sound) * _device_response(recording["device"], frequency), samples)
    gain = 10 ** (-rng.uniform(1.0, 24.0) / 20)
    return (coloured / np.abs(coloured).max() * gain).astype(np.float32)


def _mix_layers(layers: list[dict], samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    total = np.zeros(samples)
    for layer in layers:
        for _ in range(layer["voices"]):
            wave = _voice(layer, samples, sample_rate, rng)
            total += wave / _loudness(wave) * 10 ** (layer["level"] / 20)
    return total


def _voice(p: dict, samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Harmonic stack and band noise under one envelope, through the layer's resonances."""
    time = np.arange(samples) / sample_rate
    envelope, octaves = _envelope(p, time, rng)
    octaves = octaves + _pitch(p, time, rng) + rng.normal(0.0, 0.02)
    if p["voices"] > 1:
        octaves = octaves + rng.uniform(-0.4, 0.4)
    f0 = p["f0"] * 2.0**octaves
    tone = np.zeros(samples)
    for ratio in p["chord"]:
        partials = int(np.clip(0.47 * sample_rate / (ratio * f0.max()), 1, PARTIALS))
        tone += _wave_table(p, partials, rng)[_phase(f0 * ratio, sample_rate, rng)]
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate)
    band = (
        _tilt(frequency, p["tilt"] / 2)
        / (1 + (p["low"] / (frequency + 1)) ** 4)
        / (1 + (frequency / p["high"]) ** 8)
    )
    hiss = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * band, samples)
    source = (1 - p["noise"]) * tone / np.std(tone) + p["noise"] * hiss / np.std(hiss)
    spectrum = np.fft.rfft(source * envelope)
    for centre, width, gain in p["resonances"]:
        spectrum *= 1 + (10 ** (gain / 20) - 1) / (1 + ((frequency - centre) / (width / 2)) ** 2)
    return np.fft.irfft(spectrum, samples)


def _wave_table(p: dict, partials: int, rng: np.random.Generator) -> np.ndarray:
    number = np.arange(1, partials + 1)
    decibels = p["tilt"] * np.log2(number) + p["ragged"] * p["partials"][:partials]
    spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
    spectrum[1 : partials + 1] = 10 ** (decibels / 20) * np.exp(2j * np.pi * rng.random(partials))
    return np.fft.irfft(spectrum, TABLE)


def _phase(frequency: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    turns = np.cumsum(frequency) / sample_rate + rng.random()
    return ((turns % 1.0) * TABLE).astype(np.int64) % TABLE


def _pitch(p: dict, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pitch of every sample in octaves above f0."""
    turns = p["pitch_rate"] * time * rng.uniform(0.95, 1.05) + rng.random()
    span, kind = p["span"], p["pitch"]
    if kind == "sine":
        return span * (0.5 + 0.5 * np.sin(2 * np.pi * turns))
    if kind == "triangle":
        return span * np.abs(2 * (turns % 1.0) - 1)
    if kind == "saw":
        return span * (turns % 1.0)
    if kind == "twotone":
        return span * ((turns % 1.0) < 0.5)
    step = turns.astype(np.int64)
    if kind == "steps":  # notes of a major pentatonic scale within the span
        scale = np.array([0, 2, 4, 7, 9, 12, 14, 16, 19, 21, 24]) / 12
        notes = rng.integers(np.searchsorted(scale, span, side="right"), size=step[-1] + 1)
        return scale[notes][step]
    knots = rng.uniform(0.0, span, size=step[-1] + 2)  # drift: a random walk, smoothed
    return np.interp(turns, np.arange(len(knots)), knots)


def _envelope(p: dict, time: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude of every sample, and the pitch glide within its event in octaves."""
    if p["envelope"] == "am":
        turns = p["rate"] * time * rng.uniform(0.95, 1.05) + rng.random()
        return 1 - p["depth"] * (0.5 + 0.5 * np.cos(2 * np.pi * turns)), np.zeros_like(time)
    period, end = 1 / p["rate"], time[-1]
    gaps = period * np.exp(rng.normal(0.0, p["jitter"], size=int(2 * end / period) + 2))
    onsets = np.cumsum(gaps) - gaps[0] + rng.uniform(0.0, min(0.5 * end, period)) - p["attack"]
    event = np.clip(np.searchsorted(onsets, time, side="right") - 1, 0, None)
    since = time - onsets[event]
    strength = 10 ** (-rng.exponential(8 * p["jitter"], size=len(onsets)) / 20)
    shape = np.minimum(since / p["attack"], 1.0)
    shape = np.minimum(shape, np.exp(-np.maximum(since - p["attack"] - p["hold"], 0.0) / p["decay"]))
    shape = np.where(since < 0, 0.0, shape) + 1e-4  # before the first event there is next to nothing
    progress = np.clip(since / (p["attack"] + p["hold"] + p["decay"]), 0.0, 1.0)
    return shape * strength[event], p["glide"] * progress


def _tilt(frequency: np.ndarray, decibels: float) -> np.ndarray:
    """Amplitude response that falls (or rises) by `decibels` per octave, flat below 50 Hz."""
    return (np.maximum(frequency, 50.0) / 50.0) ** (decibels / (20 * np.log10(2)))


def _device_response(device: dict, frequency: np.ndarray) -> np.ndarray:
    points = np.log2(50.0) + np.arange(len(device["curve"])) * np.log2(8000 / 50) / (len(device["curve"]) - 1)
    curve = 10 ** (np.interp(np.log2(np.maximum(frequency, 1.0)), points, device["curve"]) / 20)
    return (
        curve / (1 + (device["low_cut"] / (frequency + 1)) ** 4) / (1 + (frequency / device["high_cut"]) ** 8)
    )


def _loudness(wave: np.ndarray) -> float:
    """Root mean square of the loudest twentieth of a clip (blocks of 1/40)."""
    power = np.mean(wave[: len(wave) // 40 * 40].reshape(40, -1) ** 2, axis=1)
    return float(np.sqrt(np.sort(power)[-2:].mean()) + 1e-9)
