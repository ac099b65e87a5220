"""Clips a second from files to labels on the CPU: `label RUN clips...` beside panns-inference's AudioTagging,
in one run.

    python tools/bench/labelling.py FOLDER [--clips 32] [--repeats 3] [--threads 2]

FOLDER: any audio files. Both sides decode, resample, pad or cut to `--seconds` and score the same files in
batches of the same size. Weights are random: what they hold changes no speed. AudioTagging is CNN14 at 32
kHz; ours is the CNN14 of the same size at 16 kHz, as in profile `paper`, then the networks of profiles `lite`
and `quick`."""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import reference
import timing

from esc_suite.label import infer
from esc_suite.label.networks import Networks
from esc_utils import config
from esc_utils.device import prepare
from esc_utils.fast import lay_out
from esc_utils.model import Cnn14
from esc_utils.standins.mn04 import Mn04

CLASSES = tuple(map(str, range(10)))


def audio_tagging(folder: Path):
    """panns-inference's own AudioTagging on the CPU, with a checkpoint of random weights in `folder`."""
    models = reference.panns_models()
    model = models.Cnn14(32000, 1024, 320, 64, 50, 14000, 527)
    torch.save({"model": model.state_dict()}, folder / "random.pth")
    return importlib.import_module("panns_inference.inference").AudioTagging(
        model, str(folder / "random.pth"), "cpu"
    )


def theirs(tagger, paths: list[Path], seconds: float):
    """Scores of all files as the package's own example does it: librosa loads, the tagger infers."""
    import librosa

    samples, found = round(32000 * seconds), []
    for at in range(0, len(paths), infer.BATCH):
        waves = [librosa.load(path, sr=32000, mono=True)[0] for path in paths[at : at + infer.BATCH]]
        batch = np.stack([librosa.util.fix_length(wave[:samples], size=samples) for wave in waves])
        found.append(tagger.inference(batch)[0])
    return np.concatenate(found)


def ours(profile: str, seconds: float) -> Networks:
    """The network of a profile with random weights, as `label RUN` loads a finished one."""
    knobs = config.for_run(profile, "pann_probe", clip_seconds=seconds)
    model = Mn04(len(CLASSES)) if knobs.network == "mn04" else Cnn14(len(CLASSES), width=knobs.width)
    return Networks([lay_out(model, timing.CPU, training=False).eval()], knobs, CLASSES, [])


def main() -> None:
    """One line a network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    paths, seconds = infer.found([options.folder])[: options.clips], options.seconds
    prepare(timing.CPU, options.threads)
    with tempfile.TemporaryDirectory() as folder:
        tagger = audio_tagging(Path(folder))
    print(f"{len(paths)} clips of {seconds:g} s, {options.threads} threads: clips/s, median [quartiles]")
    print(f"{'':44} {'ours':26} {'AudioTagging':26}")
    for name, profile in (
        ("CNN14 (paper)", "paper"),
        ("mn04 (lite)", "lite"),
        ("narrow CNN14 (quick)", "quick"),
    ):
        networks = ours(profile, seconds)

        def label(networks=networks):
            assert len(list(infer.labelled_rows(networks, paths, seconds, 1000.0, False))) == len(paths)

        pair = timing.alternate(label, lambda: theirs(tagger, paths, seconds), options.repeats)
        timing.line(name, "clips/s", len(paths), *pair)


if __name__ == "__main__":
    main()
