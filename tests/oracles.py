"""What the parity tests share: independent implementations, sounds, and checkpoints in the form PANN
published."""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "tools" / "bench"))

from reference import PANN_16K, panns_models

__all__ = ["PANN_16K", "panns_models"]
SAMPLES = 80_000  # 5 s at 16 kHz


def reference_front_end(**changes) -> nn.Module:
    """torchlibrosa's log-mel at PANN's 16 kHz settings: (B, samples) -> (B, 1, frames, 64)."""
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    s = PANN_16K | changes
    window = s["window_size"]
    spectrogram = Spectrogram(
        n_fft=window,
        hop_length=s["hop_size"],
        win_length=window,
        window="hann",
        center=True,
        pad_mode="reflect",
    )
    logmel = LogmelFilterBank(
        sr=s["sample_rate"], n_fft=window, n_mels=s["mel_bins"], fmin=s["fmin"], fmax=s["fmax"],
        ref=1.0, amin=1e-10, top_db=None,
    )  # fmt: skip
    return nn.Sequential(spectrogram, logmel).eval()


def padded(wave: np.ndarray) -> np.ndarray:
    return np.pad(wave, (0, SAMPLES - len(wave))).astype(np.float32)


def sounds(seed: int = 0) -> dict[str, np.ndarray]:
    """Tones, clicks, noise, silence and short clips, each zero-padded to 5 s."""
    rng = np.random.default_rng(seed)
    t = np.arange(SAMPLES) / 16000
    noise = rng.standard_normal(SAMPLES)
    clicks = np.zeros(SAMPLES)
    clicks[rng.integers(0, SAMPLES, 12)] = rng.uniform(-1, 1, 12)
    return {
        "tone": padded(0.5 * np.sin(2 * math.pi * 440 * t)),
        "chord": padded(sum(0.2 * np.sin(2 * math.pi * f * t + f) for f in (61.0, 997.3, 3120.7, 7777.0))),
        "sweep": padded(0.7 * np.sin(2 * math.pi * (100 + 700 * t) * t)),
        "clicks": padded(clicks),
        "noise": padded(0.1 * noise),
        "full scale": padded(np.sign(noise)),
        "quiet": padded(1e-4 * noise),
        "silence": padded(np.zeros(0)),
        "siren": padded(
            0.3 * np.sin(2 * math.pi * 900 * t + 120 * np.sin(2 * math.pi * 2 * t)) + 0.01 * noise
        ),
        "bark": padded((noise * np.exp(-((t % 0.7) * 18)))[: 2 * 16000]),
        **{f"{seconds} s": padded(0.3 * noise[: int(seconds * 16000)]) for seconds in (0.05, 0.3, 1.0, 4.0)},
    }


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Random values in every tensor that a fresh network leaves at zero or one, so that none can hide."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            uniform(layer.weight, 0.5, 2.0)
            uniform(layer.bias, -0.5, 0.5)
            mean, spread = ((-60, -30), (300, 500)) if name == "bn0" else ((-0.2, 0.2), (0.5, 1.5))
            uniform(layer.running_mean, *mean)
            uniform(layer.running_var, *spread)
        elif isinstance(layer, nn.Linear):
            uniform(layer.bias, -0.1, 0.1)


@torch.no_grad()
def settle(model: nn.Module, inputs: torch.Tensor) -> None:
    """Running statistics of every batch norm := those of `inputs`, as in a trained network; leaves it in eval
    mode.

    Without this the signal fades from layer to layer, and the embedding of a random network hardly depends on
    its input.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momentum = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    model.train()(inputs)
    for layer, value in zip(layers, momentum, strict=True):
        layer.momentum = value
    model.eval()


def published_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Backbone of our `model` + torchlibrosa's front end + an AudioSet head: the 84 entries of PANN's
    file."""
    spectrogram, logmel = reference_front_end()
    size = model.fc1.out_features
    tensors = {f"spectrogram_extractor.{k}": v for k, v in spectrogram.state_dict().items()}
    tensors |= {f"logmel_extractor.{k}": v for k, v in logmel.state_dict().items()}
    tensors |= {k: v for k, v in model.state_dict().items() if not k.startswith("fc_transfer")}
    return tensors | {"fc_audioset.weight": torch.zeros(527, size), "fc_audioset.bias": torch.zeros(527)}


def save_published(path: Path, tensors: dict, legacy: bool = True) -> Path:
    """PANN's training state: the sampler holds index arrays; files of 2020 are in torch's format before
    zip."""
    sampler = {
        "indexes_per_class": [np.arange(5), np.arange(3, dtype=np.int32)],
        "queue": [3, 1, 2],
        "pointers_of_classes": [0, 2, np.int64(1)],
    }
    checkpoint = {"iteration": 440000, "model": tensors, "sampler": sampler}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    return path
