"""Log-mel front ends as torch modules: PANN's, and that of the network which stands in its place (standins/mn04.py).

PANN's DFT is a convolution with float32 kernels, as in PANN, and the tables are computed in float64 and then rounded, as in
librosa. An FFT is as good, but it rounds differently: beside a pure tone, cells 100 dB below the peak then come out up to
.03 dB off; torchaudio's mel matrix, computed in float32, is .3% off at the edges of its triangles. This way the
difference from the front end that the weights were trained behind stays below 1e-4 dB.
"""

import math

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F


class LogMel(nn.Module):
    """PANN's front end: waveform (B, samples) -> log-mel (B, 1, frames, mels) in dB, frames = samples // hop + 1.

    Power spectrum, periodic Hann window, centred with reflection, slaney mel scale and norm, 10 log10 with floor
    1e-10 (silence = -100 dB) and no top_db (Kong et al. 2020; parity with torchlibrosa is tested)."""

    def __init__(
        self,
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 160,
        mels: int = 64,
        fmin: float = 50,
        fmax: float = 8000,
    ):
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


class Mn04LogMel(nn.Module):
    """mn04's front end: waveform (B, samples) at 32 kHz -> (ln(mel + 1e-5) + 4.5) / 5, (B, 1, frames, 128).

    Pre-emphasis .97 (one sample shorter), windows of 800 samples (symmetric Hann) every 320, centred with reflection, FFT
    1024, power spectrum, 128 of Kaldi's mel bands from 0 to 15 kHz. frames = 1 + (samples - 1) // 320; a clip of 4 s has
    400. Silence is -1.4. ValueError for fewer than 514 samples, which cannot be reflected.
    """

    sample_rate, window, hop, fft, least = 32000, 800, 320, 1024, 514

    def __init__(self):
        super().__init__()
        bands, _ = torchaudio.compliance.kaldi.get_mel_banks(
            128, self.fft, self.sample_rate, 0.0, 15000.0, 100.0, -500.0, 1.0
        )
        self.register_buffer("mel", F.pad(bands, (0, 1)).T.contiguous(), persistent=False)  # (513, 128)
        self.register_buffer("hann", torch.hann_window(self.window, periodic=False), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        if waveform.shape[-1] < self.least:
            raise ValueError(f"{waveform.shape[-1]} samples: mn04's front end needs {self.least}")
        return torch.stack([self._levels(clip) for clip in waveform])[:, None]  # one at a time: it stays in the cache

    def _levels(self, clip: Tensor) -> Tensor:
        emphasised = torchaudio.functional.preemphasis(clip.float(), 0.97)[1:]
        spectrum = torch.stft(emphasised, self.fft, self.hop, self.window, self.hann, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()  # (513, frames)
        return ((power.T @ self.mel + 1e-5).log() + 4.5) / 5
