"""CNN14, the network of PANN (Kong et al. 2020), and a loader that takes nothing from a checkpoint on trust.

log-mel -> bn0 -> [view: SpecAugment, mixup] -> six conv blocks -> pooling -> fc1 -> fc_transfer   (Kong et al. 2020)
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from .convolution import Conv3x3
from .errors import UserError
from .features import LogMel
from .folding import conv_norm
from .pooling import halve
from .provenance import PANN_FILE
from .weights import listed, mismatches, read_pickled, read_safetensors

WHERE = f"run `make data`, or put {PANN_FILE} (Zenodo record 3987831, sha256 e2ee543a…5058e6) there by hand"

# What the published file carries besides the backbone: its own front end (checked, not loaded) and the AudioSet head.
FRONT_END = {
    "logmel_extractor.melW": "mel matrix",
    "spectrogram_extractor.stft.conv_real.weight": "STFT kernel (real)",
    "spectrogram_extractor.stft.conv_imag.weight": "STFT kernel (imaginary)",
}
OTHER_RATES = {129: "8 kHz", 513: "32 kHz"}  # frequency bins of PANN's other checkpoints: window / 2 + 1


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU, average pooling: (B, in, t, f) -> (B, out, t/2, f/2)."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.conv1 = Conv3x3(channels_in, channels_out)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = Conv3x3(channels_out, channels_out)
        self.bn2 = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor, pool: int) -> Tensor:
        x = F.relu_(conv_norm(self.conv1, self.bn1, x))
        x = F.relu_(conv_norm(self.conv2, self.bn2, x))
        return halve(x) if pool == 2 else x


class Cnn14(nn.Module):
    """PANN's CNN14 with a new last layer; the state-dict keys are PANN's own, plus `fc_transfer.*`.

    Input (B, 1, frames, mels) in dB, at least 32 frames; output: logits (B, classes). `width` is the number of channels
    of the first block (64 in PANN) and doubles up to 32 * width, which is also the size of the embedding. `dropout` is
    (after each block, before each linear layer). `blocks.lay_out` brings it into the fastest layout.
    """

    def __init__(self, classes: int, width: int = 64, mels: int = 64, dropout: tuple[float, float] = (0.2, 0.5)):
        super().__init__()
        self.dropout = dropout
        self.bn0 = nn.BatchNorm2d(mels)
        channels = [1] + [width * 2**i for i in range(6)]
        for i in range(6):
            setattr(self, f"conv_block{i + 1}", ConvBlock(channels[i], channels[i + 1]))
        self.fc1 = nn.Linear(channels[-1], channels[-1])
        self.fc_transfer = nn.Linear(channels[-1], classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def normalise(self, x: Tensor) -> Tensor:
        """bn0 over the mel bands, (B, 1, frames, mels) -> same shape. Zero is then the band's mean (ledger 23)."""
        return self.bn0(x.transpose(1, 3)).transpose(1, 3)

    def embed(self, z: Tensor) -> Tensor:
        """Normalised (augmented, blended) input (B, 1, frames, mels) -> embedding (B, 32 * width)."""
        after_block, before_linear = self.dropout
        for i in range(1, 7):
            z = getattr(self, f"conv_block{i}")(z, pool=1 if i == 6 else 2)
            z = F.dropout(z, after_block, self.training)
        z = z.mean(dim=3)  # over frequency: (B, channels, time)
        z = z.amax(dim=2) + z.mean(dim=2)
        z = F.dropout(z, before_linear, self.training)
        return F.relu_(self.fc1(z))

    def classify(self, e: Tensor) -> Tensor:
        """Embedding (B, 32 * width) -> logits (B, classes)."""
        return self.fc_transfer(F.dropout(e, self.dropout[1], self.training))

    def forward(self, x: Tensor, view: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Log-mel (B, 1, frames, mels) in dB -> logits; `view` works on the normalised input, before any blending."""
        z = self.normalise(x)
        return self.classify(self.embed(view(z) if view is not None else z))


def load_pann(model: Cnn14, path: str | Path) -> Cnn14:
    """Fill every tensor of `model` but the new last layer from a checkpoint; returns the model.

    `path`: PANN's published Cnn14_16k_mAP=0.438.pth (ledger 25), or a `.safetensors` file with the same keys.
    UserError: no file; damaged; holds more than data; of another sample rate; trained behind a front end that differs
    from ours; a tensor missing, not finite or of another shape (the first are listed). The model is then unchanged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}: {WHERE}")
    tensors = read_safetensors(path) if path.suffix == ".safetensors" else _read_published(path)
    _check_front_end(tensors, path, required=path.suffix != ".safetensors")
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith("fc_transfer.")}
    known = {*FRONT_END, "fc_audioset.weight", "fc_audioset.bias", "fc_transfer.weight", "fc_transfer.bias"}
    if problems := mismatches(wanted, tensors, known, "CNN14"):
        raise UserError(
            f"{path.name} does not fit this CNN14: set width to the file's, or weights_path to another file; "
            f"{listed(problems)}"
        )
    model.load_state_dict({key: tensors[key] for key in wanted}, strict=False)
    return model


def _read_published(path: Path) -> dict[str, Tensor]:
    """The `model` entry of PANN's checkpoint, read without running any code that the file may carry."""
    checkpoint = read_pickled(path, WHERE, _numpy_globals())
    tensors = checkpoint.get("model") if isinstance(checkpoint, Mapping) else None
    if not isinstance(tensors, Mapping):
        raise UserError(f"{path} has no entry `model`: not a checkpoint in the form PANN published; {WHERE}")
    return dict(tensors)


def _numpy_globals() -> list:
    """The constructors of plain NumPy arrays: all that the training sampler's state in PANN's file needs.

    The file was written under NumPy 1 (`numpy.core`), this may run under NumPy 2 (`numpy._core`): both names are given.
    """
    import numpy as np

    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.int64(0).__reduce__()[0]
    return [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        type(np.dtype(np.int64)),
        type(np.dtype(np.int32)),
        type(np.dtype(np.float64)),
        type(np.dtype(np.float32)),
        type(np.dtype(np.bool_)),
    ]


def front_end_tensors() -> dict[str, Tensor]:
    """Our own front end in the form PANN stores its: mel matrix (bins, mels) and DFT kernels (bins, 1, window)."""
    ours = LogMel()
    real, imaginary = ours.kernel.chunk(2)
    return dict(zip(FRONT_END, (ours.mel, real, imaginary), strict=True))


def _check_front_end(tensors: Mapping[str, Tensor], path: Path, required: bool) -> None:
    stored = {key: tensors[key] for key in FRONT_END if isinstance(tensors.get(key), Tensor)}
    if required and len(stored) < len(FRONT_END):
        missing = [key for key in FRONT_END if key not in stored]
        raise UserError(f"{path.name} lacks {', '.join(missing)}: cannot tell which front end it was trained on; {WHERE}")
    for value in stored.values():
        rate = OTHER_RATES.get(value.shape[0]) if value.ndim else None
        if rate:
            raise UserError(f"{path.name} is a {rate} checkpoint; this suite needs PANN's 16 kHz one: {WHERE}")
    ours = front_end_tensors() if stored else {}
    for key, value in stored.items():
        if value.shape != ours[key].shape:
            shapes = f"{tuple(value.shape)}, ours {tuple(ours[key].shape)}"
            raise UserError(
                f"{path.name}: another front end than ours, its {FRONT_END[key]} {key} has shape {shapes}: {WHERE}"
            )
        worst = (value.float() - ours[key]).abs().max() / ours[key].abs().max()
        if not worst < 1e-4:
            what = f"its {FRONT_END[key]} {key} differs by {worst:.1e} of the largest entry"
            raise UserError(f"{path.name}: trained behind another front end than ours, {what}: {WHERE}")
