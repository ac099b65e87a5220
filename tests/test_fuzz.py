"""Arbitrary and damaged bytes in place of the CSV, a clip, a parameter file, a record: a result or a
UserError, no other."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import records
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from esc_suite.records import runs
from esc_utils import config, features, index, urbansound
from esc_utils.errors import UserError

fuzz = settings(max_examples=150, derandomize=True, deadline=None)
HEADER = ",".join(index.COLUMNS)
CSV = "\n".join(
    [HEADER]
    + [f"{7 + i}-{i}-0-{i}.wav,{7 + i},0.5,{i + 1},1,{i + 1},{i},{urbansound.CLASSES[i]}" for i in range(4)]
).encode()


def wav(form: str, subtype: str, rate: int = 16000, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    audio = 0.5 * np.sin(np.arange(400))[:, None].repeat(channels, 1)
    soundfile.write(buffer, audio, rate, subtype, format=form)
    return buffer.getvalue()


CLIPS = [
    wav("WAV", "PCM_16"), wav("WAV", "FLOAT", 44100, 2), wav("WAVEX", "PCM_24", 48000, 2), wav("WAV",
        "MS_ADPCM", 22050),
    wav("WAV", "PCM_U8", 8000), wav("FLAC", "PCM_16"),
]  # fmt: skip
PARAMETERS = (
    b"# a profile\nwidth: 8\nlearning_rate: 5.0e-4\nseeds: [0, 1]\nfigure_formats: [png]\nmixup: "
    b"true\ndata_dir: ''\n"
)


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """A valid file with a few bytes replaced, pieces cut out, pieces repeated, bytes put in."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(content)))
        last = min(len(content), first + draw(st.integers(0, 12)))
        match draw(st.sampled_from(["replace", "cut", "repeat", "insert", "end"])):
            case "replace":
                content[first:last] = draw(st.binary(min_size=last - first, max_size=last - first))
            case "cut":
                del content[first:last]
            case "repeat":
                content[last:last] = content[first:last] * draw(st.integers(1, 3))
            case "insert":
                content[first:first] = draw(
                    st.binary(max_size=8) | st.sampled_from([b"\n", b",", b'"', b"nan", b"-1", b": "])
                )
            case "end":
                del content[first:]
    return bytes(content)


def read(reader, content: bytes, name: str):
    """What the reader makes of a file with this content; None for a UserError, which is one line that names
    the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return reader(path)
        except UserError as error:
            assert name in str(error) and "\n" not in str(error).strip()
            return None


def sound_index(clips) -> None:
    assert clips["file"].is_monotonic_increasing and clips["file"].is_unique
    assert clips["fold"].between(1, 10).all() and clips["class_id"].between(0, 9).all()


@fuzz
@given(content=st.binary(max_size=200) | damaged(CSV))
def test_csv(content):
    clips = read(index.read_index, content, "UrbanSound8K.csv")
    if clips is not None:
        sound_index(clips)


@fuzz
@given(content=st.binary(max_size=200) | st.sampled_from(CLIPS).flatmap(damaged))
def test_audio(content):
    audio = read(features.decode, content, "clip.wav")
    if audio is not None:
        assert audio.dtype == np.float32 and audio.ndim == 1


@fuzz
@given(content=st.binary(max_size=100) | damaged(PARAMETERS))
def test_parameter_file(content):
    read(lambda path: config.from_files([*config.layers_of("quick", ""), path]), content, "mine.yaml")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return records.write(tmp_path_factory.mktemp("record"), "cnn14_10", 50.0)


@fuzz
@given(data=st.data(), name=st.sampled_from(["metrics.json", "history.csv", "predictions.npz"]))
def test_run_record(record, data, name):
    path = record.folder / name
    whole = path.read_bytes()
    path.write_bytes(data.draw(damaged(whole)))
    try:
        runs.read(record.folder)
    except UserError as error:
        assert str(record.folder) in str(error) and "\n" not in str(error)
    finally:
        path.write_bytes(whole)


# --- what this has found --------------------------------------------------------------------------

LONG = "9" * 20
FOUND = {
    "number of 20 digits in a file name": f"{HEADER}\n{LONG}-1-0-0.wav,{LONG},0,1,1,1,1,car_horn\n",
}


@pytest.mark.parametrize("case", FOUND)
def test_csv_that_was_not_refused(case):
    assert read(index.read_index, FOUND[case].encode(), "UrbanSound8K.csv") is None


@pytest.mark.parametrize("text", ["data_dir: 2001-99-99\n", "tau: 0x_\n", "mixup: !!bool perhaps\n"])
def test_parameter_file_that_was_not_refused(text):
    assert read(config.read_parameters, text.encode(), "mine.yaml") is None


def test_class_and_class_name_both_there():
    content = f"{HEADER},class_name\n1-1-0-0.wav,1,0,1,1,1,1,car_horn,car_horn\n".encode()
    assert read(index.read_index, content, "UrbanSound8K.csv")["class_name"].tolist() == ["car_horn"]


def test_clip_without_an_end():
    content = f"{HEADER}\n1-1-0-0.wav,1,0,inf,1,1,1,car_horn\n".encode()
    assert read(index.read_index, content, "UrbanSound8K.csv") is None


def test_rate_beyond_all_sense():
    assert read(features.decode, wav("WAV", "PCM_16", 10**9), "clip.wav") is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_samples_that_overflow():
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.full(800, 3.3e38, np.float32) * np.sign(np.sin(np.arange(800))),
        44100,
        "FLOAT",
        format="WAV",
    )
    assert read(features.decode, buffer.getvalue(), "clip.wav") is None
