"""Audio files as libsndfile reads them (WAV, FLAC, Ogg, MP3, ...), at any rate, with any channels."""

import math
import re
from pathlib import Path

import numpy as np

from .errors import UserError

SAMPLE_RATE = 16000
# largest sample of a clip that is taken for sound; a float file may go a little beyond full scale, 1
LOUDEST = 100.0
# rates (Hz) that a recording may have; a header that says another is wrong
SLOWEST, FASTEST = 1000, 10_000_000


def decode(
    path: Path | str, sample_rate: int = SAMPLE_RATE, start: float = math.nan, seconds: float | None = None
) -> np.ndarray:
    """Audio file -> mono float32 (samples,) at `sample_rate`: channels averaged, then resampled (soxr HQ).

    `start` (s): read `seconds` from there, or to the end, and not the whole file (NaN). Nothing is returned
    from the end on, which may lie a little before the one that is announced: some MP3 files only estimate
    their own length. UserError names the file where it cannot be read, is empty, or holds samples that are
    not finite or absurdly large."""
    import soundfile

    def bad(why: str) -> UserError:
        return UserError(f"audio file {path} {why}")

    try:
        with soundfile.SoundFile(str(path)) as file:
            rate, header = file.samplerate, file.extra_info
            if not SLOWEST <= rate <= FASTEST:
                raise bad(f"says {rate} Hz, which is no rate of a recording: mend its header or replace it")
            begin, frames = 0, file.frames  # not -1, which GSM 6.10 and G.721 cannot be read with
            if not math.isnan(start):
                begin = file.seek(min(round(start * rate), file.frames))
                frames = file.frames if seconds is None else math.ceil(seconds * rate)
            audio = file.read(frames, dtype="float32", always_2d=True)
            complete = len(audio) == frames or not file.frames
            missing = 0.0 if complete else 1 - (begin + len(audio)) / file.frames
    except OSError as error:
        raise bad(f"cannot be read ({error.strerror or error}): check it is there") from None
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise bad(f"cannot be decoded ({' '.join(str(error).split())}): unpack it again") from None
    if missing := _cut(header) or missing * (missing > 0.1):
        raise bad(f"is cut short ({missing:.0%} of its samples are missing): unpack it again")
    mono = sum(audio.T) / audio.shape[1]  # as audio.mean(axis=1), which takes four times as long
    if mono.size == 0 and not begin:
        raise bad("has no samples: unpack it again")
    if mono.size and rate != sample_rate and np.isfinite(mono).all():
        import soxr

        mono = soxr.resample(mono, rate, sample_rate)
    if mono.size == 0 and not begin:
        raise bad(f"is shorter than one sample at {sample_rate} Hz (it says {rate} Hz): unpack it again")
    if not np.isfinite(mono).all():  # also after resampling, which overflows near the largest float
        raise bad("has samples that are NaN, infinite or beyond float32: replace it")
    if (peak := float(np.abs(mono).max(initial=0))) > LOUDEST:
        damage = "damaged, or integers marked as float"
        raise bad(f"has samples up to {peak:.2g}, where full scale is 1 ({damage}): replace it")
    return mono.astype(np.float32, copy=False)


def _cut(header: str) -> float:
    """Share of a WAV's samples that its header announces and the file lacks; libsndfile reads on without a
    word, but notes it. Under 1% is taken for a sloppy header, a size near the largest (0x7fff...) for the
    mark of an unknown length."""
    noted = re.search(r"^data : (\d+) \(should be (\d+)\)", header, re.MULTILINE)
    announced, there = map(int, noted.groups()) if noted else (1, 1)
    return 1 - there / announced if there < 0.99 * announced and announced < 0x7FFF0000 else 0.0
