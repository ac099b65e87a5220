"""CNN14, the network of PANN (Kong et al. 2020).

log-mel -> bn0 -> [view: SpecAugment, mixup] -> six conv blocks -> pooling -> fc1 -> fc_transfer
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from .fast import Conv3x3, conv_norm, halve


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU, average pooling: (B, in, t, f) -> (B, out, t/2,
    f/2)."""

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

    Input (B, 1, frames, mels) in dB, at least 32 frames; output: logits (B, classes). `width` is the number
    of channels of the first block (64 in PANN) and doubles up to 32 * width, which is also the size of the
    embedding. `dropout` is (after each block, before each linear layer). `fast.lay_out` brings it into the
    fastest layout.
    """

    def __init__(
        self, classes: int, width: int = 64, mels: int = 64, dropout: tuple[float, float] = (0.2, 0.5)
    ):
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
        """bn0 over the mel bands, (B, 1, frames, mels) -> same shape. Zero is then the band's mean (ledger
        23)."""
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
        """Log-mel (B, 1, frames, mels) in dB -> logits; `view` works on the normalised input."""
        z = self.normalise(x)
        return self.classify(self.embed(view(z) if view is not None else z))
