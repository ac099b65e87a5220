"""PANN's log-mel front end as a torch module.

The DFT is a convolution with float32 kernels, as in PANN, and the tables are computed in float64 and then rounded, as in
librosa. An FFT is as good, but it rounds differently: beside a pure tone, cells 100 dB below the peak then come out up to
.03 dB off; torchaudio's mel matrix, computed in float32, is .3% off at the edges of its triangles. This way the
difference from the front end that the weights were trained behind stays below 1e-4 dB.
"""

import math

import torch
import torch.nn.functional as F


class LogMelFrontEnd(torch.nn.Module):
    """Waveform (B, samples) -> log-mel (B, 1, frames, mels) in dB; see `features.LogMel`."""

    def __init__(self, sample_rate: int, window: int, hop: int, mels: int, fmin: float, fmax: float):
        super().__init__()
        self.sample_rate, self.hop = sample_rate, hop
        self.register_buffer("kernel", dft_kernel(window).float(), persistent=False)
        self.register_buffer("mel", slaney_mel(sample_rate, window, mels, fmin, fmax).float(), persistent=False)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        # One clip at a time: what lies between the two products stays in the cache, a quarter of the time is saved.
        return torch.cat([self._levels(clip) for clip in waveform.float()[:, None].split(1)])

    def _levels(self, clip: torch.Tensor) -> torch.Tensor:
        half = self.kernel.shape[-1] // 2
        padded = F.pad(clip, (half, half), mode="reflect")
        real, imaginary = F.conv1d(padded, self.kernel, stride=self.hop).chunk(2, dim=1)  # (B, bins, frames) each
        power = (real.square() + imaginary.square()).transpose(1, 2)
        return 10 * (power @ self.mel).clamp(min=1e-10).log10()[:, None]


def dft_kernel(window: int) -> torch.Tensor:
    """Real parts, then imaginary parts, of the DFT behind a periodic Hann window: (2 * bins, 1, window), float64."""
    n = torch.arange(window, dtype=torch.float64)
    angle = 2 * math.pi / window * torch.outer(n[: window // 2 + 1], n)
    hann = torch.hann_window(window, periodic=True, dtype=torch.float64)
    return torch.cat([hann * angle.cos(), -hann * angle.sin()])[:, None]


def slaney_mel(sample_rate: int, window: int, mels: int, fmin: float, fmax: float) -> torch.Tensor:
    """Triangles of equal area on Slaney's scale, linear up to 1 kHz and then logarithmic: (bins, mels), float64."""
    knee, step, ratio = 15.0, 200 / 3, math.log(6.4) / 27  # mel at 1 kHz; Hz a mel below; log(Hz) a mel above

    def to_mel(hz: float) -> float:
        return hz / step if hz < 1000 else knee + math.log(hz / 1000) / ratio

    mel = torch.linspace(to_mel(fmin), to_mel(fmax), mels + 2, dtype=torch.float64)
    edges = torch.where(mel < knee, mel * step, 1000 * ((mel - knee) * ratio).exp())
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    hz = torch.arange(window // 2 + 1, dtype=torch.float64)[:, None] * sample_rate / window
    rise, fall = (hz - low) / (centre - low), (high - hz) / (high - centre)
    return torch.minimum(rise, fall).clamp(min=0) * 2 / (high - low)
