"""PANN's log-mel front end as a torch module."""

import torch
import torchaudio


class LogMelFrontEnd(torch.nn.Module):
    """Waveform (B, samples) -> log-mel (B, 1, frames, mels) in dB; see `features.LogMel`."""

    def __init__(self, sample_rate: int, window: int, hop: int, mels: int, fmin: float, fmax: float):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate, n_fft=window, hop_length=hop, f_min=fmin, f_max=fmax, n_mels=mels,
            window_fn=torch.hann_window, power=2.0, center=True, pad_mode="reflect",
            norm="slaney", mel_scale="slaney",
        )  # fmt: skip

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        power = self.mel(waveform.float())  # (B, mels, frames)
        return 10 * power.clamp(min=1e-10).log10().transpose(1, 2).unsqueeze(1)
