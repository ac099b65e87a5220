"""EfficientAT mn04_as (Schmid et al. 2023): MobileNetV3 trained on AudioSet to PANN's own score, in PANN's
place.

Stands beside Cnn14 with the same four methods, so SpecAugment, mixup and FixMatch run on it unchanged. mAP
43.2, CNN14-16k's 43.8, with 1 of 81 million parameters. It has its own front end, Mn04LogMel. Weights:
`load_mn04`.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UserError
from ..fast import conv_norm
from ..paths import MN04_FILE, mn04_file, place
from ..weights import listed, mismatches, read_pickled, read_safetensors
from .mn04_logmel import Mn04LogMel

WHERE = (
    f"run `make data PROFILE=lite`, or put {MN04_FILE} (GitHub, fschmid56/EfficientAT, release v0.0.1) "
    "there by hand"
)
SAMPLE_RATE = 32000
WIDTH = 0.4
AUDIOSET_CLASSES = 527
NAMES = Path(__file__).parent / "assets" / "audioset_classes.txt"
# Inverted residuals at width 1: in, kernel, expanded, out, squeeze-excitation, hardswish (else ReLU), stride.
BLOCKS = (
    (16, 3, 16, 16, False, False, 1),
    (16, 3, 64, 24, False, False, 2),
    (24, 3, 72, 24, False, False, 1),
    (24, 5, 72, 40, True, False, 2),
    (40, 5, 120, 40, True, False, 1),
    (40, 5, 120, 40, True, False, 1),
    (40, 3, 240, 80, False, True, 2),
    (80, 3, 200, 80, False, True, 1),
    (80, 3, 184, 80, False, True, 1),
    (80, 3, 184, 80, False, True, 1),
    (80, 3, 480, 112, True, True, 1),
    (112, 3, 672, 112, True, True, 1),
    (112, 5, 672, 160, True, True, 2),
    (160, 5, 960, 160, True, True, 1),
    (160, 5, 960, 160, True, True, 1),
)


def channels(count: float) -> int:
    """The multiple of 8 nearest to a number of channels, but never below 90% of it."""
    rounded = max(8, int(count + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * count else rounded


def overwritable(activation) -> bool:
    """Whether the activation may write over a norm's output, which no gradient but hardswish's needs."""
    return activation is F.relu or not torch.is_grad_enabled()


class Conv(nn.Sequential):
    """Convolution without bias, batch norm, activation: the state-dict keys are `0.*` and `1.*`."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, groups: int, activation
    ):
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels_out, eps=0.001, momentum=0.01),
        )
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = conv_norm(self[0], self[1], x)
        return self.activation(x, inplace=overwritable(self.activation)) if self.activation else x


class _Excitation(nn.Module):
    """The two linear layers of a squeeze-excitation, (B, C) -> (B, C) in 0..1; named as in the published
    file."""

    def __init__(self, size: int):
        super().__init__()
        squeezed = channels(size / 4)
        self.fc1, self.fc2 = nn.Linear(size, squeezed), nn.Linear(squeezed, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x))).sigmoid()


class SqueezeExcitation(nn.Module):
    """Scale every channel by a gate made from all channels' means: (B, C, m, t) -> same shape."""

    def __init__(self, size: int):
        super().__init__()
        self.conc_se_layers = nn.ModuleList([_Excitation(size)])

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conc_se_layers[0](x.mean(dim=(2, 3)))[:, :, None, None]
        return x * gate if torch.is_grad_enabled() else x.mul_(gate)


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise, squeeze-excitation, 1x1 back; plus the input where shapes allow."""

    def __init__(
        self,
        channels_in: int,
        kernel: int,
        inner: int,
        channels_out: int,
        excite: bool,
        hard: bool,
        stride: int,
    ):
        super().__init__()
        activation = F.hardswish if hard else F.relu
        layers = [Conv(channels_in, inner, 1, 1, 1, activation)] if inner != channels_in else []
        layers.append(Conv(inner, inner, kernel, stride, inner, activation))
        layers += [SqueezeExcitation(inner)] if excite else []
        layers.append(Conv(inner, channels_out, 1, 1, 1, None))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x).add_(x) if self.residual else self.block(x)


class Mn04(nn.Module):
    """mn04_as with a new last layer: (B, 1, frames, 128) from Mn04LogMel -> logits (B, classes); published
    keys, plus `fc_transfer.*`.

    `fc_transfer` is the new layer, on the mean embedding (384); `classifier` is mn04's own head of 527
    AudioSet logits (kept for `audioset_scores`, never trained)."""

    def __init__(self, classes: int):
        super().__init__()
        sizes = [[channels(WIDTH * row[i]) for i in (0, 2, 3)] for row in BLOCKS]
        layers = [Conv(1, sizes[0][0], 3, 2, 1, F.hardswish)]
        for (first, inner, last), (_, kernel, _, _, excite, hard, stride) in zip(sizes, BLOCKS, strict=True):
            layers.append(InvertedResidual(first, kernel, inner, last, excite, hard, stride))
        size = 6 * sizes[-1][2]
        layers.append(Conv(sizes[-1][2], size, 1, 1, 1, F.hardswish))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.ModuleDict({"2": nn.Linear(size, 512), "5": nn.Linear(512, AUDIOSET_CLASSES)})
        self.classifier.requires_grad_(False)
        self.fc_transfer = nn.Linear(size, classes)
        self.register_buffer("mean", torch.zeros(128))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def set_statistics(self, x: Tensor) -> None:
        """Take every band's mean over `x` (clips, 1, frames, 128), the labelled clips, for the value of a
        masked cell.

        As bn0 does for CNN14, and with it ledger 23: zero after `normalise` is the band's mean. (The authors'
        own masks put ln(mel) = 0 there, a loud cell: on real clips a probe then loses twice as much to a weak
        mask, docs/findings.md.)"""
        self.mean.copy_(x.float().mean(dim=(0, 1, 2)))

    def normalise(self, x: Tensor) -> Tensor:
        """Log-mel (B, 1, frames, 128) -> same shape, shifted so that zero is the band's mean."""
        return x - self.mean

    def embed(self, z: Tensor) -> Tensor:
        """Shifted (augmented, blended) input (B, 1, frames, 128) -> mean embedding over time and frequency
        (B, 384)."""
        return self.features((z + self.mean).transpose(2, 3)).mean(dim=(2, 3))

    def classify(self, e: Tensor) -> Tensor:
        """Embedding (B, 384) -> logits (B, classes)."""
        return self.fc_transfer(e)

    def forward(self, x: Tensor, view: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Log-mel (B, 1, frames, 128) -> logits; `view` works on the shifted input."""
        z = self.normalise(x)
        return self.classify(self.embed(view(z) if view is not None else z))

    def audioset_logits(self, e: Tensor) -> Tensor:
        """Embedding (B, 384) -> mn04's own logits of AudioSet's 527 classes; in eval mode the authors' own
        output."""
        return self.classifier["5"](F.hardswish(self.classifier["2"](e)))

    @torch.no_grad()
    def audioset_scores(self, waveform: Tensor) -> Tensor:
        """Waveform (samples,) at 32 kHz -> scores (527,) in 0..1 of AudioSet's classes, each by itself;
        names: class_names.

        Clips under one second are padded with zeros. ValueError in training mode, where batch norm would see
        one clip."""
        if self.training:
            raise ValueError("audioset_scores needs eval mode: call .eval() first")
        waveform = F.pad(waveform, (0, max(0, SAMPLE_RATE - len(waveform))))
        x = Mn04LogMel().to(waveform.device)(waveform[None])
        return self.audioset_logits(self.embed(self.normalise(x)))[0].sigmoid()


def load_mn04(model: Mn04, path: str | Path | None = None) -> Mn04:
    """Fill every tensor of `model` but the new last layer and the input's mean; returns the model.

    `path`: mn04_as_mAP_432.pt as published (docs/mn04.md), or a `.safetensors` file with the same keys; None
    or "": where `paths.mn04_file` says. UserError: no file and none to be fetched; damaged; holds more than
    data; a tensor missing, not finite, of another shape or unknown (the first are listed). The model is then
    unchanged.
    """
    path = place(str(path)) if path else mn04_file()
    if not path.is_file():
        raise UserError(f"no weights at {path}: {WHERE}")
    tensors = read_safetensors(path) if path.suffix == ".safetensors" else read_pickled(path, WHERE)
    if not isinstance(tensors, Mapping):
        raise UserError(f"{path} holds no tensors by name: not mn04's checkpoint; {WHERE}")
    own = ("fc_transfer.", "mean")
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(own)}
    if problems := mismatches(wanted, tensors, (), "mn04"):
        raise UserError(
            f"{path.name} does not fit mn04, {listed(problems)}; set weights_path to another file, or {WHERE}"
        )
    model.load_state_dict(dict(tensors), strict=False)
    return model


@cache
def class_names() -> tuple[str, ...]:
    """AudioSet's 527 class names in the order of mn04's logits."""
    return tuple(NAMES.read_text(encoding="utf-8").splitlines())


def top_classes(scores: Tensor, count: int) -> list[tuple[str, float]]:
    """The `count` highest of 527 scores, as (name, score), highest first."""
    values, places = scores.topk(count)
    return [
        (class_names()[place], value) for place, value in zip(places.tolist(), values.tolist(), strict=True)
    ]
