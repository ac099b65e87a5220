"""CNN14's 3x3 convolution; on a CPU, where channels are many and positions few, as one matrix product over a whole batch."""

from torch import Tensor, nn
from torch.nn import functional as F

MANY, FEW = 1024, 128  # output channels, at least, and positions of a clip, at most: the last two blocks at PANN's width


class Conv3x3(nn.Conv2d):
    """3x3 convolution, padding 1, no bias: (B, in, t, f) -> (B, out, t, f); state-dict keys of nn.Conv2d.

    Of 15 x 2 positions by 2048 channels, oneDNN's matrix product is faster than its convolution (docs/performance.md)."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, padding=1, bias=False)

    @property
    def many(self) -> bool:
        """Whether the channels are many enough for a matrix product."""
        return self.out_channels >= MANY

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.device.type != "cpu" or not len(x) or not self.many or x.shape[2] * x.shape[3] > FEW:
            return super()._conv_forward(x, weight, bias)
        return _product(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same convolution by im2col: weights (out, 9 in) times every clip's unfolded positions side by side."""
    clips, _, height, width = x.shape
    columns = F.unfold(x, 3, padding=1).transpose(0, 1).reshape(1, weight[0].numel(), -1, 1)
    y = F.conv2d(columns, weight.flatten(1)[:, :, None, None], bias)  # 1x1: oneDNN's matrix product
    return y.view(-1, clips, height, width).transpose(0, 1).contiguous()
