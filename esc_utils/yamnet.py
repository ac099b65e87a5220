"""YAMNet (Plakal and Ellis, tensorflow/models): MobileNetV1 trained on AudioSet, in PANN's place where no GPU is.

Stands beside Cnn14 with the same four methods, so SpecAugment, mixup and FixMatch run on it unchanged. It has its own
front end, YamnetLogMel. Weights: `load_yamnet`, in yamnet_weights.py.
"""

import csv
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .folding import conv_norm
from .yamnet_weights import load_yamnet

__all__ = ["Yamnet", "YamnetLogMel", "class_names", "load_yamnet", "top_classes"]

CLASS_MAP = Path(__file__).parent / "assets" / "yamnet_class_map.csv"
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the separable layers 2 to 14
CHANNELS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
AUDIOSET_CLASSES = 521
PATCH, PATCH_HOP = 96, 48  # frames: .96 s, the input YAMNet was trained on, every .48 s

# Until set_statistics is called: level and spread of all bands, from 160 clips of UrbanSound8K, fold 1.
TYPICAL_MEAN, TYPICAL_STD = -2.7, 3.0


class YamnetLogMel(nn.Module):
    """YAMNet's front end: waveform (B, samples) at 16 kHz -> ln(mel + .001), (B, 1, frames, 64).

    Windows of 400 samples (periodic Hann) every 160, not centred, FFT 512, magnitude spectrum, 64 triangles on the HTK
    mel scale from 125 to 7500 Hz. Nothing is padded: frames = 1 + (samples - 400) // 160: a clip padded to 5 s (80,000
    samples) has 498 frames, and 500 with 240 more zeros. Silence is ln .001 = -6.9. ValueError below 400 samples.
    """

    window, hop, fft = 400, 160, 512

    def __init__(self):
        super().__init__()
        # In float64, and one clip at a time: in float32 the faint bands beside a loud tone are off by .003, and a whole
        # batch of frames would fill the memory.
        self.register_buffer("hann", torch.hann_window(self.window, dtype=torch.float64), persistent=False)
        self.register_buffer("mel", htk_mel(self.fft, 16000, 64, 125.0, 7500.0), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        if waveform.shape[-1] < self.window:
            raise ValueError(f"{waveform.shape[-1]} samples: YAMNet's window has {self.window}")
        return torch.stack([self._levels(clip) for clip in waveform])[:, None]

    def _levels(self, clip: Tensor) -> Tensor:
        frames = clip.double().unfold(-1, self.window, self.hop) * self.hann
        magnitude = torch.fft.rfft(frames, n=self.fft).abs()
        return (magnitude @ self.mel + 0.001).log().float()


def htk_mel(fft: int, sample_rate: int, mels: int, fmin: float, fmax: float) -> Tensor:
    """Triangles that are straight in mel, not in Hz, of height 1 (TensorFlow's), none on DC: (bins, mels), float64."""
    hz = torch.arange(fft // 2 + 1, dtype=torch.float64)[:, None] * sample_rate / fft
    edges = torch.linspace(_to_mel(fmin), _to_mel(fmax), mels + 2, dtype=torch.float64)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    mel = 1127 * torch.log1p(hz / 700)
    triangles = torch.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)).clamp(min=0)
    triangles[0] = 0
    return triangles


def _to_mel(hz: float) -> float:
    return 1127 * math.log1p(hz / 700)


class SameConv(nn.Conv2d):
    """Convolution without bias, with TensorFlow's "same" padding: the odd row or column goes after, not before."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1):
        # At stride 1 the padding is even on both sides, and the convolution itself can do it.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            time, freq = ((math.ceil(n / stride) - 1) * stride + kernel - n for n in x.shape[2:])
            x = F.pad(x, (freq // 2, freq - freq // 2, time // 2, time - time // 2))
        return super()._conv_forward(x, weight, bias)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=1e-4)
    layer.weight.requires_grad_(False)  # YAMNet's has no scale: it stays 1
    return layer


class First(nn.Module):
    """3x3 convolution of stride 2, batch norm, ReLU: (B, 1, t, f) -> (B, 32, t/2, f/2)."""

    fuses = True

    def __init__(self):
        super().__init__()
        self.conv, self.bn = SameConv(1, 32, 3, stride=2), _batch_norm(32)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(conv_norm(self.conv, self.bn, x))


class Separable(nn.Module):
    """3x3 depthwise, then 1x1 pointwise convolution, each with batch norm and ReLU."""

    fuses = True

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.depthwise = SameConv(channels_in, channels_in, 3, stride, groups=channels_in)
        self.depthwise_bn = _batch_norm(channels_in)
        self.pointwise = SameConv(channels_in, channels_out, 1)
        self.pointwise_bn = _batch_norm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(conv_norm(self.depthwise, self.depthwise_bn, x))
        return F.relu_(conv_norm(self.pointwise, self.pointwise_bn, x))


class Yamnet(nn.Module):
    """YAMNet with a new last layer: (B, 1, frames, 64) from YamnetLogMel -> logits (B, classes).

    Run on whole clips, fully convolutional. `fc_transfer` is the new layer, `classifier` YAMNet's own 521 AudioSet logits
    (kept for `audioset_scores`, never trained). `dropout` comes before fc_transfer; YAMNet itself has none.
    """

    def __init__(self, classes: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.register_buffer("mean", torch.full((64,), TYPICAL_MEAN))
        self.register_buffer("std", torch.full((64,), TYPICAL_STD))
        self.layer1 = First()
        channels = (32, *CHANNELS)
        for i, stride in enumerate(STRIDES):
            setattr(self, f"layer{i + 2}", Separable(channels[i], channels[i + 1], stride))
        self.classifier = nn.Linear(1024, AUDIOSET_CLASSES).requires_grad_(False)
        self.fc_transfer = nn.Linear(1024, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def set_statistics(self, features: Tensor) -> None:
        """Per-band mean and standard deviation of `features` (clips, 1, frames, 64): the labelled training clips.

        YAMNet has no normalisation of its input that could say what "average" is, as bn0 does in CNN14. Without one, the
        zeros of SpecAugment would be a loud stripe (ln mel = 0), not a missing one. `normalise` standardises every band by
        these numbers and `embed` takes them back exactly, so the network sees what it was trained on, and a masked cell is
        the band's mean (ledger 23). They are fixed, unlike batch statistics, because only so can `embed` invert them.
        """
        std, mean = torch.std_mean(features.float(), dim=(0, 1, 2))
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=1e-3))  # a band that never changes (digital silence)

    def normalise(self, x: Tensor) -> Tensor:
        """ln mel (B, 1, frames, 64) -> standardised bands, same shape; zero is the band's mean."""
        return (x - self.mean) / self.std

    def embed(self, z: Tensor) -> Tensor:
        """Standardised (augmented, blended) input (B, 1, frames, 64) -> mean embedding over time and frequency (B, 1024)."""
        x = z * self.std + self.mean
        for i in range(1, 15):
            x = getattr(self, f"layer{i}")(x)
        return x.mean(dim=(2, 3))

    def classify(self, e: Tensor) -> Tensor:
        """Embedding (B, 1024) -> logits (B, classes)."""
        return self.fc_transfer(F.dropout(e, self.dropout, self.training))

    def forward(self, x: Tensor, view: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """ln mel (B, 1, frames, 64) -> logits; `view` works on the standardised input."""
        z = self.normalise(x)
        return self.classify(self.embed(view(z) if view is not None else z))

    @torch.inference_mode()
    def audioset_scores(self, waveform: Tensor) -> Tensor:
        """Waveform (samples,) at 16 kHz -> AudioSet scores (521,) in 0..1, as YAMNet tags: mean over patches of .96 s.

        Patches start every .48 s; the end is padded with zeros to fill the last one. Needs eval mode: ValueError else.
        """
        if self.training:
            raise ValueError("audioset_scores needs eval mode: call .eval() first")
        span, step = (YamnetLogMel.hop * n for n in (PATCH, PATCH_HOP))
        span += YamnetLogMel.window - YamnetLogMel.hop  # 15,600 samples make 96 frames
        missing = max(span - len(waveform), -(len(waveform) - span) % step)
        frames = YamnetLogMel().to(waveform.device)(F.pad(waveform, (0, missing))[None])[0, 0]
        patches = frames.unfold(0, PATCH, PATCH_HOP).transpose(1, 2)[:, None]  # (patches, 1, 96, 64)
        return self.classifier(self.embed(self.normalise(patches))).sigmoid().mean(dim=0)


@cache
def class_names() -> tuple[str, ...]:
    """The 521 AudioSet classes in the order of `classifier`."""
    with CLASS_MAP.open(newline="", encoding="utf-8") as file:
        return tuple(row["display_name"] for row in csv.DictReader(file))


def top_classes(scores: Tensor, count: int = 5) -> list[tuple[str, float]]:
    """The highest of `audioset_scores` (521,) with their names, best first."""
    values, index = scores.topk(count)
    return [(class_names()[i], value) for i, value in zip(index.tolist(), values.tolist(), strict=True)]
