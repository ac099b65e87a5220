"""How fast, beside a plain FixMatch over panns-inference, in one run: python benchmarks/bench.py [--only a,b] [--repeats 5]

Ours and the reference (benchmarks/reference.py) take turns; medians, the spread of the repeats (quartiles), and ratios.
The two are first shown to compute the same loss on the same masks. Nothing is asserted about speed.
"""

import argparse
import copy
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import reference
import torch

from esc_utils import config, features, steps
from esc_utils.augment import apply, mixup, views
from esc_utils.check_paper import forward_operations
from esc_utils.model import Cnn14
from esc_utils.optim import optimizer
from esc_utils.sampling import Budget, draw_epoch, labelled_batch, unlabelled_batch

SAMPLES, FRAMES, CLASSES = 80_000, 501, 10


def knobs_of(method: str, width: int) -> config.RunConfig:
    """The paper's step; FixMatch at B = 4, mu = 7 so that both ways fit a small machine."""
    name = "fixmatch_tau075" if method == "fixmatch" else "pann_10"
    small = {"fixmatch_batch_size": 4} if method == "fixmatch" else {"batch_size": 16 if width > 16 else 32}
    return config.for_run("paper", name, width=width, **small)


class Sides:
    """One optimizer step of one method, ours and the reference's, on the same random clips."""

    def __init__(self, method: str, width: int, clips: int = 256):
        self.knobs = knobs = knobs_of(method, width)
        self.method = method
        self.own, self.others = labelled_batch(knobs), unlabelled_batch(knobs) if method == "fixmatch" else 0
        generator = torch.Generator().manual_seed(0)
        clips = max(clips if width <= 16 else 0, self.own, self.others)
        self.waves = 0.1 * torch.randn(clips, SAMPLES, generator=generator)
        self.labels = torch.arange(clips) % CLASSES
        with torch.inference_mode():
            front = features.LogMel().eval()
            store = torch.cat([front(part) for part in self.waves.split(32)]).squeeze(1)
        self.store = store.to(torch.float16).numpy()
        torch.manual_seed(0)
        self.model = Cnn14(CLASSES, width=width).train()
        self.peer = reference.Reference(CLASSES, width).train()
        self.peer.take_weights(self.model)
        self.number = 0

    def optimizers(self) -> None:
        self.model = self.model.to(memory_format=torch.channels_last)
        rate = {"lr": self.knobs.learning_rate}
        self.ours = optimizer(self.knobs, [{"params": list(self.model.parameters()), **rate}])
        trained = [p for p in self.peer.parameters() if p.requires_grad]
        self.theirs = torch.optim.Adam(trained, lr=self.knobs.learning_rate, amsgrad=True)

    def draw(self, number: int):
        return draw_epoch(self.knobs, Budget(10**6, 1, 1.0), number, len(self.labels), len(self.labels), (FRAMES, 64))[0]

    def batch(self, rows) -> torch.Tensor:
        return torch.from_numpy(self.store[rows.numpy()]).float().unsqueeze(1)

    def loss(self, draw, knobs=None) -> torch.Tensor:
        x, y, knobs = self.batch(draw.labelled), self.labels[draw.labelled], knobs or self.knobs
        if self.method == "fixmatch":
            return steps.fixmatch_step(self.model, knobs, draw, x, y, self.batch(draw.unlabelled)).loss
        return steps.supervised_step(self.model, knobs, draw, x, y).loss

    def peer_loss(self, draw, stripes: bool = False) -> torch.Tensor:
        law = views(self.knobs)
        strong, weak = (reference.random_stripes(law[name]) for name in ("strong", "weak"))
        first = reference.Stripes(draw.labelled_masks) if stripes else strong
        x, y = self.waves[draw.labelled], self.labels[draw.labelled]
        if self.method == "supervised":
            return reference.supervised_loss(self.peer, x, y, first, draw.weights)
        three = (first, weak, strong)
        if stripes:
            three = (first, reference.Stripes(draw.weak_masks), reference.Stripes(draw.strong_masks))
        u, knobs = self.waves[draw.unlabelled], self.knobs
        return reference.fixmatch_loss(
            self.peer, x, y, u, three, draw.weights, draw.unlabelled_weights, knobs.tau, knobs.lambda_u
        )

    def check(self) -> float:
        """Largest relative difference of the two losses on the same masks and dropout (ours joint, too)."""
        worst = 0.0
        knobs = self.knobs.model_copy(update={"forward": "joint"} if self.method == "fixmatch" else {})
        exact, self.store = self.store, None
        with torch.inference_mode():
            front = features.LogMel().eval()
            levels = torch.cat([front(part) for part in self.waves.split(32)])
        self.store = levels.squeeze(1).numpy()  # float32: the comparison is of losses, not of the store's rounding
        for number in range(2):
            draw = self.draw(number)
            with torch.no_grad():
                torch.manual_seed(number)
                ours = self.loss(draw, knobs).item()
                torch.manual_seed(number)
                theirs = self.peer_loss(draw, stripes=True).item()
            worst = max(worst, abs(ours - theirs) / abs(theirs))
        self.store = exact
        return worst

    def step(self) -> None:
        self.number += 1
        self.loss(self.draw(self.number)).backward()
        self.ours.step()
        self.ours.zero_grad(set_to_none=True)

    def peer_step(self) -> None:
        self.number += 1
        self.peer_loss(self.draw(self.number)).backward()
        self.theirs.step()
        self.theirs.zero_grad(set_to_none=True)


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def alternate(ours, theirs, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each repeat of both, taking turns, after one warm-up of each."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    return tuple(np.array(pairs).T)


def line(name: str, unit: str, count: float, ours: np.ndarray, theirs: np.ndarray) -> None:
    """count / seconds of both sides: median [quartiles], and the ratio of the medians."""

    def words(times):
        low, middle, high = np.percentile(count / times, [25, 50, 75])
        return f"{middle:8.2f} [{low:.2f}, {high:.2f}]"

    ratio = np.median(theirs) / np.median(ours)
    print(f"{name:44} {words(ours):26} {words(theirs):26} {ratio:5.2f}x  {unit}", flush=True)


def front_end(repeats: int, clips: int = 64) -> None:
    """(a) 44.1 kHz stereo WAV files to log-mel."""
    from concurrent.futures import ThreadPoolExecutor

    import librosa
    import soundfile
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    spectrogram = Spectrogram(n_fft=512, hop_length=160, win_length=512)
    logmel = LogmelFilterBank(sr=16000, n_fft=512, n_mels=64, fmin=50, fmax=8000, amin=1e-10, top_db=None)
    front, rng = features.LogMel().eval(), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), ThreadPoolExecutor() as pool:
        paths = [Path(folder) / f"{i}.wav" for i in range(clips)]
        for path in paths:
            soundfile.write(path, 0.1 * rng.standard_normal((4 * 44100, 2)), 44100, subtype="PCM_16")

        def ours():
            front(torch.from_numpy(features.waveforms(paths, 5.0, pool)))

        def theirs():
            for path in paths:
                wave = librosa.load(path, sr=16000, mono=True)[0]
                logmel(spectrogram(torch.from_numpy(np.pad(wave, (0, SAMPLES - len(wave))))[None]))

        line("(a) WAV file to log-mel", "clips/s", clips, *alternate(ours, theirs, repeats))


def inference(repeats: int, clips: int = 16) -> None:
    """(b) Full width, and the share of the machine's own matrix rate."""
    torch.manual_seed(0)
    model = Cnn14(CLASSES).eval()
    peer = reference.Reference(CLASSES).eval()
    peer.take_weights(model)
    waves = 0.1 * torch.randn(clips, SAMPLES)
    with torch.inference_mode():
        levels = features.LogMel().eval()(waves)
        quick = copy.deepcopy(model).to(memory_format=torch.channels_last)
        gap = (quick(levels) - peer(waves)).abs().max() / peer(waves).abs().max()
        times = alternate(lambda: quick(levels), lambda: peer(waves), repeats)
    line("(b) inference, width 64", "clips/s", clips, *times)
    matrix = torch.randn(2048, 2048)
    rate = 2 * 2048**3 / np.median([seconds(lambda: matrix @ matrix) for _ in range(10)])
    reached = forward_operations() * clips / np.median(times[0])
    share = f"{reached / rate:.0%} of this machine's {rate / 1e9:.0f} GFLOP/s float32 matrix rate"
    print(f"    {reached / 1e9:.0f} GFLOP/s: {share}; outputs differ by {gap:.1e}")


def training(name: str, method: str, width: int, repeats: int) -> None:
    """(c), (d) One optimizer step, from the store (ours) or audio (reference) to updated weights."""
    sides = Sides(method, width)
    gap = sides.check()
    sides.optimizers()
    times = alternate(sides.step, sides.peer_step, repeats)
    line(f"{name}, width {width}", "clips/s", sides.own + sides.others, *times)
    print(f"    same loss on the same masks within {gap:.1e}")


def overhead(repeats: int) -> None:
    """(e) Share of a width-8 FixMatch step that is spent on drawing, indexing, SpecAugment and mixup."""
    sides = Sides("fixmatch", 8)
    sides.optimizers()

    def around():
        sides.number += 1
        draw = sides.draw(sides.number)
        x, u = sides.batch(draw.labelled), sides.batch(draw.unlabelled)
        mixup(apply(x, draw.labelled_masks), draw.weights)
        apply(u, draw.weak_masks)
        mixup(apply(u, draw.strong_masks), draw.unlabelled_weights)

    step, extra = alternate(sides.step, around, max(repeats, 5))
    share = np.median(extra) / np.median(step)
    print(f"(e) drawing, indexing, SpecAugment and mixup: {share:.1%} of a FixMatch step at width 8")


def peak(side: str, width: int) -> float:
    """Bytes that one FixMatch step adds to the memory of a fresh process."""
    sides = Sides("fixmatch", width, clips=0)
    sides.optimizers()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (sides.step if side == "ours" else sides.peer_step)()
    return 1024.0 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def memory(width: int) -> None:
    """(f) Peak memory of (d), each side in a process of its own."""
    found = {}
    for side in ("ours", "reference"):
        command = [sys.executable, __file__, "--peak", side, "--width", str(width)]
        found[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    share = found["ours"] / found["reference"]
    gigabytes = " against ".join(f"{value / 1e9:.2f} GB" for value in found.values())
    print(f"(f) peak memory of a FixMatch step, width {width}: {gigabytes}, {share:.0%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="a,b,c,d,e,f", help="letters of what to measure")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--widths", default="8,64", help="of the training steps")
    parser.add_argument("--peak", choices=["ours", "reference"], help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=8, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(peak(options.peak, options.width)))
        return
    chosen, repeats = options.only.split(","), options.repeats
    widths = [int(width) for width in options.widths.split(",")]
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, "
        f"{repeats} repeats"
    )
    print(f"{'':44} {'ours [quartiles]':26} {'reference [quartiles]':26} ratio")
    if "a" in chosen:
        front_end(repeats)
    if "b" in chosen:
        inference(repeats)
    for letter, name, method in (("c", "(c) supervised step", "supervised"), ("d", "(d) FixMatch step", "fixmatch")):
        for width in widths if letter in chosen else ():
            training(name, method, width, repeats)
    if "e" in chosen:
        overhead(repeats)
    for width in widths if "f" in chosen else ():
        memory(width)


if __name__ == "__main__":
    main()
