"""Unusual audio decodes to the right values; bad audio is refused in one line that names the file."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bad_input import refused

from esc_utils import features, logmel

TONE, LEVEL = 1000.0, 0.5  # Hz, amplitude


# --- audio that is supported ----------------------------------------------------------------------


def tone(rate: int, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    one = LEVEL * np.sin(2 * np.pi * TONE * np.arange(round(rate * seconds)) / rate)
    return np.repeat(one[:, None], channels, axis=1)


SUPPORTED = {  # rate, seconds, channels, soundfile's format and subtype
    "8-bit": (16000, 1.0, 1, "WAV", "PCM_U8"),
    "16-bit": (16000, 1.0, 1, "WAV", "PCM_16"),
    "16-bit stereo 44.1 kHz": (44100, 1.0, 2, "WAV", "PCM_16"),  # most of UrbanSound8K
    "24-bit stereo 44.1 kHz": (44100, 1.0, 2, "WAV", "PCM_24"),
    "32-bit float stereo": (44100, 1.0, 2, "WAV", "FLOAT"),
    "32-bit integer": (16000, 1.0, 1, "WAV", "PCM_32"),
    "32-bit float": (48000, 1.0, 1, "WAV", "FLOAT"),
    "64-bit float": (16000, 1.0, 1, "WAV", "DOUBLE"),
    "WAVE_EXTENSIBLE 16-bit": (44100, 1.0, 2, "WAVEX", "PCM_16"),
    "WAVE_EXTENSIBLE 5.1 24-bit": (48000, 1.0, 6, "WAVEX", "PCM_24"),
    "WAVE_EXTENSIBLE 24-bit": (48000, 1.0, 2, "WAVEX", "PCM_24"),
    "WAVE_EXTENSIBLE float": (48000, 1.0, 1, "WAVEX", "FLOAT"),
    "big-endian RIFX": (16000, 1.0, 1, "WAV", "PCM_16"),
    "mu-law": (16000, 1.0, 1, "WAV", "ULAW"),
    "GSM 6.10": (16000, 1.0, 1, "WAV", "GSM610"),
    "G.721 ADPCM": (16000, 1.0, 1, "WAV", "G721_32"),
    "MS ADPCM": (44100, 1.0, 2, "WAV", "MS_ADPCM"),
    "FLAC named .wav": (44100, 1.0, 1, "FLAC", "PCM_16"),
    "5.1": (48000, 1.0, 6, "WAVEX", "PCM_16"),
    "8 kHz": (8000, 1.0, 1, "WAV", "PCM_16"),
    "11.025 kHz": (11025, 1.0, 1, "WAV", "PCM_16"),
    "22.05 kHz": (22050, 1.0, 1, "WAV", "PCM_16"),
    "32 kHz": (32000, 1.0, 1, "WAV", "PCM_16"),
    "48 kHz": (48000, 1.0, 1, "WAV", "PCM_16"),
    "88.2 kHz": (88200, 1.0, 1, "WAV", "PCM_24"),
    "96 kHz": (96000, 1.0, 2, "WAV", "PCM_24"),
    "176.4 kHz": (176400, 1.0, 1, "WAV", "PCM_24"),
    "192 kHz": (192000, 1.0, 1, "WAV", "PCM_24"),
    "0.05 s": (44100, 0.05, 1, "WAV", "PCM_16"),
    "60 s": (16000, 60.0, 1, "WAV", "PCM_16"),
}


@pytest.fixture(scope="module")
def reference():
    """Log-mel of the tone as it should be, in float at 16 kHz, away from the ends: (frames, mels)."""
    return log_mel(tone(16000)[:, 0].astype(np.float32))[20:80]


def log_mel(waveform: np.ndarray) -> np.ndarray:
    import torch

    return logmel.LogMel()(torch.from_numpy(waveform)[None])[0, 0].numpy()


@pytest.mark.parametrize("case", SUPPORTED)
def test_supported_audio(case, tmp_path, reference):
    """Length, level, pitch, and (where long enough) the same log-mel around the peak as the ideal tone."""
    rate, seconds, channels, form, subtype = SUPPORTED[case]
    path = tmp_path / "clip.wav"
    endian = "BIG" if "big-endian" in case else "FILE"
    soundfile.write(path, tone(rate, seconds, channels), rate, subtype, endian, form)
    audio = features.decode(path)
    assert audio.dtype == np.float32 and audio.ndim == 1
    # ADPCM: whole blocks
    assert abs(len(audio) - 16000 * seconds) <= 1 + (16000 / rate * 1012 if "ADPCM" in case else 0)
    # Whole periods
    middle = audio[len(audio) // 4 : len(audio) // 4 + round(min(len(audio) // 2, 8000) / 16) * 16]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(LEVEL / np.sqrt(2), rel=0.03)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * 16000 / len(middle) == pytest.approx(TONE, abs=16000 / len(middle))
    if seconds >= 1:
        found = log_mel(audio)[20:80]
        peak = reference.mean(axis=0).argmax()
        assert found.mean(axis=0).argmax() == peak
        assert np.abs(found - reference)[:, peak - 1 : peak + 2].max() < 0.3  # dB


def test_channels_are_averaged(tmp_path):
    audio = tone(16000, channels=2)
    audio[:, 1] = 0
    soundfile.write(tmp_path / "clip.wav", audio, 16000, "FLOAT")
    np.testing.assert_allclose(features.decode(tmp_path / "clip.wav"), tone(16000)[:, 0] / 2, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.05, 60.0])
def test_clips_get_their_fixed_length(seconds, tmp_path):
    """Short clips are padded with zeros at the end, long ones cut."""
    soundfile.write(tmp_path / "clip.wav", tone(16000, seconds), 16000, "FLOAT")
    (waveform,) = features.waveforms([tmp_path / "clip.wav"], 5.0)
    expected = np.zeros(80000)
    there = min(80000, round(16000 * seconds))
    expected[:there] = tone(16000, seconds)[:there, 0]
    np.testing.assert_allclose(waveform, expected, atol=1e-6)


def test_header_of_a_stream_without_a_length(tmp_path):
    """ffmpeg and sox write the largest size into the header when they write to a pipe: not a cut file."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(16000), 16000, "PCM_16")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(features.decode(path)) == 16000


# --- audio that is not ----------------------------------------------------------------------------


def spoil(kind: str, path: Path) -> None:
    audio = tone(16000)
    if kind in ("NaN", "infinite"):
        audio[5000] = np.nan if kind == "NaN" else np.inf
    if kind == "no samples":
        audio = audio[:0]
    soundfile.write(path, audio, 16000, "FLOAT")
    content = path.read_bytes()
    match kind:
        case "zero bytes":
            path.write_bytes(b"")
        case "cut in the header":
            path.write_bytes(content[:30])
        case "cut in the samples":
            path.write_bytes(content[: len(content) // 2])
        case "text":
            path.write_text("<html>404 not found</html>")
        case "random bytes":
            path.write_bytes(np.random.default_rng(0).bytes(5000))
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()


BAD_AUDIO = {
    "zero bytes": "unpack",
    "cut in the header": "unpack",
    "cut in the samples": "cut short (50% of its samples are missing): unpack",
    "text": "unpack",
    "random bytes": "unpack",
    "NaN": "NaN",
    "infinite": "infinite",
    "no samples": "no samples",
    "missing": "clip.wav",
    "folder": "clip.wav",
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_bad_audio(case, tmp_path):
    spoil(case, tmp_path / "clip.wav")
    refused(lambda: features.decode(tmp_path / "clip.wav"), str(tmp_path / "clip.wav"), BAD_AUDIO[case])


@pytest.mark.parametrize("factor", [2.0**15, -(2.0**23), 1e12, 1e25])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_absurd_samples_name_their_file(factor, rate, tmp_path):
    """Integers marked as float, and damage that is finite."""
    soundfile.write(tmp_path / "clip.wav", (tone(rate) * factor).astype(np.float32), rate, "FLOAT")
    refused(lambda: features.decode(tmp_path / "clip.wav"), "clip.wav", "full scale is 1", "replace it")


@pytest.mark.parametrize("rate", [1, 50, 999, 2**31 - 1])
def test_absurd_rates_name_their_file(rate, tmp_path):
    """A header of 1 Hz would make hours of four seconds."""
    soundfile.write(tmp_path / "clip.wav", tone(16000), rate, "PCM_16")
    refused(lambda: features.decode(tmp_path / "clip.wav"), "clip.wav", f"says {rate} Hz", "header")


def test_a_float_file_may_go_beyond_full_scale(tmp_path):
    soundfile.write(tmp_path / "clip.wav", (tone(16000) * 8).astype(np.float32), 16000, "FLOAT")
    assert np.abs(features.decode(tmp_path / "clip.wav")).max() == pytest.approx(4, rel=1e-3)
