"""How fast, beside a plain FixMatch over panns-inference, in one run: python tools/bench/bench.py [--only
a,b] [--repeats 5]

Ours and the reference (tools/bench/reference.py) take turns; medians, the spread of the repeats (quartiles),
and ratios. The two are first shown to compute the same loss on the same masks. Nothing is asserted about
speed.

    --only   all but g where not given: floor (counted, not timed), a audio to log-mel, b inference,
             c supervised step, d FixMatch step, e share of drawing and augmenting, f peak memory,
             g growth (docs/growth.png and .csv; another folder: --out),
             h mn04's steps as profile `lite` has them, i a run's seconds beside its training
    --quick  one repeat, width 8, and no b and f unless --only names them
    --device cuda measures accelerator.py's list instead: the paper's step in bfloat16
"""

import argparse
import copy
import tempfile
from pathlib import Path

import accelerator
import floor
import growth
import numpy as np
import one_run
import peak
import reference
import sides
import timing
import torch
from timing import alternate, line

from esc_suite.run import check_paper
from esc_suite.run.check_paper import forward_operations
from esc_suite.run.together import exit_with
from esc_utils import allocator, features
from esc_utils.augment import apply, mixup
from esc_utils.errors import UserError
from esc_utils.fast import lay_out
from esc_utils.logmel import LogMel
from esc_utils.model import Cnn14
from esc_utils.urbansound import CLASSES

PARTS = ("floor", "a", "b", "c", "d", "e", "f", "g", "h", "i")
USUAL = ",".join(part for part in PARTS if part != "g")  # growth takes as long as all others
LONG = ("b", "f")  # not in --quick
STEPS = {"c": ("(c) supervised step", "supervised"), "d": ("(d) FixMatch step", "fixmatch")}
OUT = Path(__file__).resolve().parents[2] / "docs"


def front_end(repeats: int, clips: int = 64) -> None:
    """(a) 44.1 kHz stereo WAV files to log-mel."""
    from concurrent.futures import ThreadPoolExecutor

    import librosa
    import soundfile
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    spectrogram = Spectrogram(n_fft=512, hop_length=160, win_length=512)
    logmel = LogmelFilterBank(sr=16000, n_fft=512, n_mels=64, fmin=50, fmax=8000, amin=1e-10, top_db=None)
    front, rng = LogMel().eval(), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), ThreadPoolExecutor() as pool:
        paths = [Path(folder) / f"{i}.wav" for i in range(clips)]
        for path in paths:
            soundfile.write(path, 0.1 * rng.standard_normal((4 * 44100, 2)), 44100, subtype="PCM_16")

        def ours():
            front(torch.from_numpy(features.waveforms(paths, 5.0, pool)))

        @timing.usual_allocator()
        def theirs():
            for path in paths:
                wave = librosa.load(path, sr=16000, mono=True)[0]
                logmel(spectrogram(torch.from_numpy(np.pad(wave, (0, 5 * 16000 - len(wave))))[None]))

        line("(a) WAV file to log-mel", "clips/s", clips, *alternate(ours, theirs, repeats))


def inference(repeats: int, clips: int = 16, width: int = 64) -> None:
    """(b) At full width, and the share of the machine's own matrix rate."""
    torch.manual_seed(0)
    model = Cnn14(len(CLASSES), width=width).eval()
    peer = reference.Reference(len(CLASSES), width).eval()
    peer.take_weights(model)
    waves = 0.1 * torch.randn(clips, 5 * features.SAMPLE_RATE)
    with torch.inference_mode():
        levels = LogMel().eval()(waves)
        quick, theirs = (
            lay_out(copy.deepcopy(model), timing.CPU, training=False),
            timing.usual_allocator()(peer),
        )
        gap = (quick(levels) - theirs(waves)).abs().max() / theirs(waves).abs().max()
        times = alternate(lambda: quick(levels), lambda: theirs(waves), repeats)
    line(f"(b) inference, width {width}", "clips/s", clips, *times)
    print(f"    {share(forward_operations(width) * clips, times[0])}; outputs differ by {gap:.1e}")


def share(operations: float, times: np.ndarray) -> str:
    """The rate that was reached, beside this machine's own."""
    rate, reached = timing.matrix_rate(), operations / np.median(times)
    return (
        f"{reached / 1e9:.0f} GFLOP/s: {reached / rate:.0%} of this machine's {rate / 1e9:.0f} GFLOP/s "
        "float32 matrix rate"
    )


def training(name: str, method: str, width: int, repeats: int, **changes) -> None:
    """(c), (d) One optimizer step, from the store (ours) or audio (reference) to updated weights."""
    knobs = sides.knobs_of(method, width, **changes)
    gap = sides.difference(knobs)
    pool = sides.Pool(knobs, 256 if width <= 16 else 0)
    times = alternate(sides.Ours(knobs, pool).train, sides.Plain(knobs, pool).train, repeats)
    sized = name if knobs.network == "mn04" else f"{name}, width {width}"
    line(sized, "clips/s", sides.loaded(knobs), *times)
    forward = accelerator.forward_operations(knobs, pool.shape)
    needed = check_paper.step_operations(knobs, forward)
    print(f"    {share(needed, times[0])}; same loss on the same masks within {gap:.1e}")


def mn04(repeats: int, **changes) -> None:
    """(h) The steps of profile `lite`, on one thread as its runs have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, method in (("supervised", "supervised"), ("FixMatch", "fixmatch")):
            training(f"(h) mn04, {name} step, 1 thread", method, 8, repeats, **(sides.LITE | changes))
    finally:
        torch.set_num_threads(threads)


def around_a_run(repeats: int, parameters: list[str] | None = None) -> None:
    """(i) Seconds of a supervised run of `quick` in its notebook, less those of its training."""
    found = np.array(one_run.measure(repeats, parameters))
    print(
        f"(i) a run of profile quick: {timing.spread(found[:, 0] - found[:, 1]).strip()} s beside "
        f"{np.median(found[:, 1]):.1f} s of training"
    )


def overhead(repeats: int, width: int = 8, **changes) -> None:
    """(e) Share of a FixMatch step that is spent on drawing, indexing, SpecAugment and mixup."""
    knobs = sides.knobs_of("fixmatch", width, **changes)
    pool = sides.Pool(knobs, 256)
    side = sides.Ours(knobs, pool)

    def around():
        for draw in side.draws(1):
            x, u = pool.levels(draw.labelled), pool.levels(draw.unlabelled)
            mixup(apply(x, draw.labelled_masks), draw.weights)
            apply(u, draw.weak_masks)
            mixup(apply(u, draw.strong_masks), draw.unlabelled_weights)

    step, extra = alternate(side.train, around, max(repeats, 5))
    part = np.median(extra) / np.median(step)
    print(f"(e) drawing, indexing, SpecAugment and mixup: {part:.1%} of a FixMatch step at width {width}")


def memory(width: int, **changes) -> None:
    """(f) Peak memory of (d), each side in a process of its own."""
    if not peak.available():
        print(f"(f) {peak.MISSING}")
        return
    found = [
        peak.fresh("peak", "step", side=side, method="fixmatch", width=width, changes=changes)["bytes"]
        for side in ("ours", "reference")
    ]
    gigabytes = " against ".join(f"{value / 1e9:.3f} GB" for value in found)
    print(
        f"(f) a FixMatch step, width {width}, adds at its peak: {gigabytes}, {found[0] / found[1]:.0%}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="what to measure, separated by commas; all but g if not given")
    parser.add_argument("--quick", action="store_true", help="one repeat, width 8, the short parts")
    parser.add_argument("--repeats", type=int, help="5; 1 in --quick")
    parser.add_argument(
        "--widths", help="of the floor, the training steps and the peak memory: 8,64; 8 in --quick"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number>")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of growth.png and growth.csv")
    options = parser.parse_args()
    quick = ",".join(part for part in USUAL.split(",") if part not in LONG)
    options.only = options.only or (quick if options.quick else USUAL)
    options.repeats = options.repeats or (1 if options.quick else 5)
    options.widths = options.widths or ("8" if options.quick else "8,64")
    with exit_with():
        run(options)


def run(options) -> None:
    device = accelerator.choose(options.device)
    if device.type != "cpu":
        accelerator.measure(device, accelerator.Scale(repeats=options.repeats))
        return
    chosen, repeats = options.only.split(","), options.repeats
    if unknown := set(chosen) - set(PARTS):
        raise UserError(f"--only {','.join(sorted(unknown))}: choose from {','.join(PARTS)}")
    widths = [int(width) for width in options.widths.split(",")]
    if "floor" in chosen:
        floor.report(widths)
    if chosen == ["floor"]:
        return
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, "
        f"{repeats} repeats"
    )
    allocator.keep_freed()
    print(f"{'':44} {'ours [quartiles]':26} {'reference [quartiles]':26} ratio")
    if "a" in chosen:
        front_end(repeats)
    if "b" in chosen:
        inference(repeats)
    for letter, (name, method) in STEPS.items():
        for width in widths if letter in chosen else ():
            training(name, method, width, repeats)
    if "e" in chosen:
        overhead(repeats)
    for width in widths if "f" in chosen else ():
        memory(width)
    if "g" in chosen:
        growth.measure(options.out, repeats)
    if "h" in chosen:
        mn04(repeats)
    if "i" in chosen:
        around_a_run(repeats)


if __name__ == "__main__":
    main()
