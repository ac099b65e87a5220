"""PANN's log-mel front end as a torch module; that of mn04, which stands in PANN's place, is in
standins/mn04_logmel.py.

The DFT is a convolution with float32 kernels, as in PANN, and the tables are computed in float64 and then
rounded, as in librosa. An FFT (torchaudio's spectrogram) is as good, but it rounds differently: beside a pure
tone, cells 100 dB below the peak then come out up to .03 dB off. Mel bands that torchaudio computes in
float32, its default, are .3% off at the edges of their triangles. This way the difference from the front end
that the weights were trained behind stays below 1e-3 dB wherever there is sound
(tests/test_parity_frontend.py).
"""

import math

import torch
import torchaudio
from torch import nn
from torch.nn import functional as F

from .standins.mn04_logmel import Mn04LogMel

__all__ = ["LogMel", "Mn04LogMel"]


class LogMel(nn.Module):
    """PANN's front end: waveform (B, samples) -> log-mel (B, 1, frames, mels) in dB, frames = samples // hop
    + 1.

    Power spectrum, periodic Hann window, centred with reflection, slaney mel scale and norm, 10 log10 with
    floor 1e-10 (silence = -100 dB) and no top_db (Kong et al. 2020; parity with torchlibrosa is tested)."""

    def __init__(
        self, sample_rate: int = 16000, window: int = 512, hop: int = 160, mels: int = 64,
        fmin: float = 50, fmax: float = 8000,
    ):  # fmt: skip
        super().__init__()
        self.sample_rate, self.hop = sample_rate, hop
        self.register_buffer("kernel", dft_kernel(window).float(), persistent=False)
        mel = slaney_mel(sample_rate, window, mels, fmin, fmax).float()
        self.register_buffer("mel", mel, persistent=False)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        # One clip at a time: what lies between the two products stays in the cache, in 3/4 of the time.
        return torch.cat([self._levels(clip) for clip in waveform.float()[:, None].split(1)])

    def _levels(self, clip: torch.Tensor) -> torch.Tensor:
        half = self.kernel.shape[-1] // 2
        padded = F.pad(clip, (half, half), mode="reflect")
        # (B, bins, frames) each
        real, imaginary = F.conv1d(padded, self.kernel, stride=self.hop).chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2)
        return 10 * (power @ self.mel).clamp(min=1e-10).log10()[:, None]


def dft_kernel(window: int) -> torch.Tensor:
    """Real, then imaginary parts of the DFT behind a periodic Hann window: (2 * bins, 1, window), float64."""
    n = torch.arange(window, dtype=torch.float64)
    angle = 2 * math.pi / window * torch.outer(n[: window // 2 + 1], n)
    hann = torch.hann_window(window, periodic=True, dtype=torch.float64)
    return torch.cat([hann * angle.cos(), -hann * angle.sin()])[:, None]


def slaney_mel(sample_rate: int, window: int, mels: int, fmin: float, fmax: float) -> torch.Tensor:
    """Triangles of equal area on Slaney's scale, linear up to 1 kHz and then logarithmic: (bins, mels),
    float64."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # the only way to tell torchaudio
    try:
        return torchaudio.functional.melscale_fbanks(
            window // 2 + 1, fmin, fmax, mels, sample_rate, norm="slaney", mel_scale="slaney"
        )
    finally:
        torch.set_default_dtype(usual)
