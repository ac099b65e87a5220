"""The front end of mn04, the network that stands in PANN's place."""

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F


class Mn04LogMel(nn.Module):
    """mn04's front end: waveform (B, samples) at 32 kHz -> (ln(mel + 1e-5) + 4.5) / 5, (B, 1, frames, 128).

    Pre-emphasis .97 (one sample shorter), windows of 800 samples (symmetric Hann) every 320, centred with
    reflection, FFT 1024, power spectrum, 128 of Kaldi's mel bands from 0 to 15 kHz.
    frames = 1 + (samples - 1) // 320; a clip of 4 s has 400. Silence is -1.4.
    ValueError for fewer than 514 samples, which cannot be reflected.
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
        # One at a time: it stays in the cache
        return torch.stack([self._levels(clip) for clip in waveform])[:, None]

    def _levels(self, clip: Tensor) -> Tensor:
        emphasised = torchaudio.functional.preemphasis(clip.float(), 0.97)[1:]
        sizes = (self.fft, self.hop, self.window)
        spectrum = torchaudio.functional.spectrogram(
            emphasised, 0, self.hann, *sizes, power=None, normalized=False
        )
        power = spectrum.real.square() + spectrum.imag.square()  # (513, frames)
        return ((power.T @ self.mel + 1e-5).log() + 4.5) / 5
