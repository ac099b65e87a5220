"""Our log-mel against torchlibrosa's, PANN's own front end: at most 1e-3 dB apart wherever there is sound
(-80 dB)."""

import pytest
import torch
from oracles import reference_front_end, sounds
from torchaudio.transforms import MelSpectrogram

from esc_utils.logmel import LogMel

CLIPS = sounds()


def clip(name: str) -> torch.Tensor:
    return torch.from_numpy(CLIPS[name])[None]


def difference(front_end, reference, waveform) -> float:
    """Largest difference in dB over the cells where either is above -80 dB; infinite if the shapes differ."""
    ours, theirs = front_end(waveform), reference(waveform)
    if ours.shape != theirs.shape:
        return float("inf")
    loud = (ours > -80) | (theirs > -80)
    return (ours - theirs)[loud].abs().max().item() if loud.any() else 0.0


@pytest.mark.parametrize("name", CLIPS)
def test_log_mel_is_torchlibrosas(name):
    assert difference(LogMel(), reference_front_end(), clip(name)) <= 1e-3


def test_making_a_front_end_leaves_the_default_type_as_it_was():
    for usual in (torch.float32, torch.float64):
        torch.set_default_dtype(usual)
        try:
            front_end = LogMel()
            assert torch.get_default_dtype() == usual and front_end.mel.dtype == torch.float32
        finally:
            torch.set_default_dtype(torch.float32)


def test_shape_and_silence():
    x = LogMel()(torch.from_numpy(CLIPS["silence"])[None])
    assert x.shape == (1, 1, 501, 64)
    assert torch.allclose(x, torch.tensor(-100.0))


def test_batch_order_is_kept():
    names = ["noise", "bark", "1.0 s"]
    together = LogMel()(torch.cat([clip(n) for n in names]))
    for i, name in enumerate(names):
        assert torch.allclose(together[i], LogMel()(clip(name))[0], atol=1e-4)


class Htk(torch.nn.Module):
    """The front end with the HTK mel scale, as torchaudio's defaults have it."""

    def forward(self, waveform):
        options = {"n_fft": 512, "hop_length": 160, "f_min": 50, "f_max": 8000, "n_mels": 64}
        mel = MelSpectrogram(16000, norm="slaney", mel_scale="htk", **options)
        return 10 * mel(waveform).clamp(min=1e-10).log10().transpose(1, 2).unsqueeze(1)


@pytest.mark.parametrize(
    "mutant",
    [LogMel(fmin=0), LogMel(fmax=7600), LogMel(hop=320), LogMel(window=400), LogMel(mels=128), Htk()],
    ids=["fmin 0", "fmax 7600", "hop 320", "window 400", "128 mels", "htk"],
)
def test_a_mutated_front_end_fails_the_comparison(mutant):
    worst = max(difference(mutant, reference_front_end(), clip(name)) for name in ("noise", "chord"))
    assert worst > 0.1
