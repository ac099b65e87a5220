"""The plain way, from public packages: panns-inference's Cnn14 with torchlibrosa's front end inside,
waveforms in, contiguous layout, SpecAugment in place clip by clip, all views in one forward pass with
gradients."""

import importlib
import os
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torchlibrosa.augmentation import SpecAugmentation

from esc_utils.standins.mn04 import Mn04
from esc_utils.standins.mn04_logmel import Mn04LogMel

PANN_16K = {
    "sample_rate": 16000,
    "window_size": 512,
    "hop_size": 160,
    "mel_bins": 64,
    "fmin": 50,
    "fmax": 8000,
}


def panns_models():
    """The module panns_inference.models; its package would fetch a label file into the home folder, so it
    gets one."""
    with tempfile.TemporaryDirectory() as home:
        labels = Path(home) / "panns_data" / "class_labels_indices.csv"
        labels.parent.mkdir()
        labels.write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
        with mock.patch.dict(os.environ, HOME=home, USERPROFILE=home):
            return importlib.import_module("panns_inference.models")


class Views(nn.Module):
    """Stands where PANN's spec_augmenter stands: each part of the batch gets its own augmentation and mixup.

    parts: list of (clips, augmentation, mixup weights (clips / 2,) or None) in the order of the batch."""

    def __init__(self, parts: list):
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        done = []
        for part, (_, augment, weights) in zip(
            x.split([count for count, _, _ in self.parts]), self.parts, strict=True
        ):
            z = augment(part.clone())  # augmentation works in place
            if weights is not None:
                w = weights.view(-1, 1, 1, 1)
                z = z[0::2] * w + z[1::2] * (1 - w)
            done.append(z)
        return torch.cat(done)


class Stripes(nn.Module):
    """Given stripes, zeroed in place clip by clip as torchlibrosa does: for comparing losses on the same
    masks."""

    def __init__(self, masks):
        super().__init__()
        self.masks = masks

    def forward(self, x: Tensor) -> Tensor:
        for clip, time, freq in zip(x, self.masks.time.tolist(), self.masks.freq.tolist(), strict=True):
            for start, end in time:
                clip[:, start:end, :] = 0
            for start, end in freq:
                clip[:, :, start:end] = 0
        return x


def random_stripes(view) -> SpecAugmentation:
    """torchlibrosa's own augmentation with the widths of one of our views."""
    return SpecAugmentation(view.time_width, view.time_stripes, view.freq_width, view.freq_stripes).train()


class Reference(nn.Module):
    """PANN's network with a new last layer: waveforms (B, samples) -> logits. `width`: narrower blocks."""

    def __init__(self, classes: int, width: int = 64):
        super().__init__()
        models = panns_models()
        if width == 64:
            self.base = models.Cnn14(**PANN_16K, classes_num=527)
        else:
            with mock.patch.object(models, "init_layer"), mock.patch.object(nn.Conv2d, "reset_parameters"):
                # Its blocks are replaced: no start values
                self.base = models.Cnn14(**PANN_16K, classes_num=527)
            channels = [1] + [width * 2**i for i in range(6)]
            for i in range(6):
                setattr(self.base, f"conv_block{i + 1}", models.ConvBlock(channels[i], channels[i + 1]))
            self.base.fc1 = nn.Linear(channels[-1], channels[-1])
            self.base.fc_audioset = nn.Linear(channels[-1], 527)
        self.fc_transfer = nn.Linear(32 * width, classes)

    def forward(self, waveforms: Tensor, views: Views | None = None) -> Tensor:
        if views is not None:
            self.base.spec_augmenter = views
        return self.fc_transfer(self.base(waveforms)["embedding"])

    def take_weights(self, model: nn.Module) -> None:
        """Copy the weights of our Cnn14 of the same width."""
        state = model.state_dict()
        self.base.load_state_dict(
            {k: v for k, v in state.items() if not k.startswith("fc_transfer.")}, strict=False
        )
        self.fc_transfer.load_state_dict(
            {k.removeprefix("fc_transfer."): v for k, v in state.items() if "fc_transfer" in k}
        )


class ReferenceMn04(nn.Module):
    """mn04 in the same way: front end inside, contiguous layout, as its authors' code runs it."""

    def __init__(self, classes: int):
        super().__init__()
        self.front_end, self.base = Mn04LogMel(), Mn04(classes)

    def forward(self, waveforms: Tensor, views: Views | None = None) -> Tensor:
        z = self.base.normalise(self.front_end(waveforms))
        return self.base.classify(self.base.embed(z if views is None else views(z)))

    def take_weights(self, model: nn.Module) -> None:
        """Copy the weights of our Mn04."""
        self.base.load_state_dict(model.state_dict())


def blended(logits: Tensor, labels: Tensor, weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mixup's cross entropy against both labels of a pair, mean over the batch."""
    loss = nn.CrossEntropyLoss(reduction="none")
    first, second = loss(logits, labels[0::2]), loss(logits, labels[1::2])
    if mask is not None:
        first, second = first * mask[0::2], second * mask[1::2]
    return (weights * first + (1 - weights) * second).mean()


def supervised_loss(model: Reference, waveforms, labels, augment, weights) -> Tensor:
    logits = model(waveforms, Views([(len(waveforms), augment, weights)]))
    return blended(logits, labels, weights)


def fixmatch_loss(
    model: Reference, x, labels, u, augments, weights, u_weights, tau: float, lambda_u: float
) -> Tensor:
    """One forward pass over labelled, weak and strong views; augments: those of the three."""
    views = Views(
        [(len(x), augments[0], weights), (len(u), augments[1], None), (len(u), augments[2], u_weights)]
    )
    logits = model(torch.cat([x, u, u]), views)
    labelled, weak, strong = logits.split([len(x) // 2, len(u), len(u) // 2])
    confidence, pseudo = weak.detach().softmax(dim=1).max(dim=1)
    return blended(labelled, labels, weights) + lambda_u * blended(
        strong, pseudo, u_weights, confidence >= tau
    )
