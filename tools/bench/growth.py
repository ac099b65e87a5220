"""How time and memory grow: a FixMatch step with mu and with width, the feature store with the number of
clips.

Seconds are medians of steps that take turns; memory is what one step, build or opening adds at its peak, each
in a process of its own. Written as growth.csv, and drawn as growth.png.
"""

import csv
import tempfile
import time
from pathlib import Path

import numpy as np
import peak
import sides
import timing
from growth_figure import growth_figure

from esc_suite import figures
from esc_utils import config, features
from esc_utils.urbansound import Dataset

COLUMNS = ("axis", "value", "side", "seconds", "seconds_low", "seconds_high", "peak_bytes")
MUS, WIDTHS, CLIPS, WIDTH = (1, 2, 4, 7), (4, 8, 16, 32), (64, 128, 256, 512), 8
FILES = 64  # different ones; more clips are these again


def row(axis: str, value: int, side: str, times, peak_bytes) -> dict:
    """One line of the table: median and quartiles of seconds, bytes or None."""
    low, middle, high = np.percentile(times, [25, 50, 75]).round(6).tolist()
    return dict(zip(COLUMNS, (axis, value, side, middle, low, high, peak_bytes), strict=True))


def steps(axis: str, values, repeats: int, width: int = WIDTH, **changes) -> list[dict]:
    """Rows of a FixMatch step, ours and the reference's, for each value of `axis` ("mu" or "width")."""
    found = []
    for value in values:
        sizes = changes | ({"mu": value} if axis == "mu" else {})
        wide = value if axis == "width" else width
        knobs = sides.knobs_of("fixmatch", wide, **sizes)
        pool = sides.Pool(knobs)
        pair = (sides.Ours(knobs, pool), sides.Plain(knobs, pool))
        times = timing.alternate(*(side.train for side in pair), repeats)
        del pair, pool
        for side, own in zip(("ours", "reference"), times, strict=True):
            adds = None
            if peak.available():
                adds = peak.fresh("peak", "step", side=side, method="fixmatch", width=wide, changes=sizes)[
                    "bytes"
                ]
            found.append(row(axis, value, side, own, adds))
            say(found[-1])
    return found


def stores(values, repeats: int, clip_seconds: float = 4.0) -> list[dict]:
    """Rows of building and of opening the feature store, for each number of clips."""
    import soundfile

    found, rng = [], np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{i}.wav") for i in range(min(FILES, max(values)))]
        for path in paths:
            noise = 0.1 * rng.standard_normal((round(clip_seconds * 44100), 2))
            soundfile.write(path, noise, 44100, subtype="PCM_16")
        for clips in values:
            measured = peak.fresh("growth", "store", paths=paths, clips=clips, repeats=repeats, folder=folder)
            for side, own in measured.items():
                found.append(row("clips", clips, side, own["seconds"], own["bytes"]))
                say(found[-1])
    return found


def store(paths: list[str], clips: int, repeats: int, folder: str) -> dict:
    """In a process of its own: {"build": {seconds, bytes}, "open": {...}} of a store of `clips` clips.

    A store of one clip goes before them: what the libraries load on first use is no part of it."""
    import pandas

    measured = {"build": [], "open": []}

    def once(number: int, count: int, work) -> None:
        knobs = config.for_run("paper", "", cache_dir=f"{folder}/cache{number}")
        listed = pandas.DataFrame({"path": [paths[i % len(paths)] for i in range(count)]})
        dataset = Dataset(Path(folder), listed, True, f"{count}-{number}", {})
        for name in ("build", "open"):
            measured[name].append(work(lambda: features.open_store(knobs, dataset)))
        features.store_path(knobs, dataset).unlink()

    def both(work) -> tuple[float, int | None]:
        took = []
        timed = lambda: took.append(timing.seconds(work))  # noqa: E731
        adds = peak.added(timed) if peak.available() else timed()
        return took[0], adds

    once(0, 1, both)
    for number in range(1, repeats + 1):
        once(number, clips, both)
    return {
        name: {"seconds": [took for took, _ in kept[1:]], "bytes": kept[1][1]} for name,
               kept in measured.items()
    }  # fmt: skip


def say(line: dict) -> None:
    """One row, for who waits."""
    memory = "" if line["peak_bytes"] is None else f", {line['peak_bytes'] / 1e6:10.2f} MB at the peak"
    print(
        f"    {line['axis']:5} {line['value']:4}  {line['side']:9} {line['seconds']:9.4f} s{memory}",
        flush=True,
    )


def measure(
    out: Path, repeats: int, mus=MUS, widths=WIDTHS, clips=CLIPS, width: int = WIDTH, **changes
) -> list[dict]:
    """(g) All of it, written to `out`/growth.csv and `out`/growth.png; `changes`: knobs of the steps."""
    knobs = sides.knobs_of("fixmatch", width, **changes)
    usual = f"width {width}, B = {knobs.fixmatch_batch_size}, mu = {knobs.mu} unless varied"
    print(f"(g) growth: a FixMatch step at {usual}; the feature store")
    if not peak.available():
        print(f"    {peak.MISSING}")
    began = time.monotonic()
    rows = steps("mu", mus, repeats, width, **changes) + steps("width", widths, repeats, **changes)
    rows += stores(clips, repeats)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "growth.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    (out / "growth.png").write_bytes(figures.draw(growth_figure(rows), dpi=200))
    print(f"    growth.csv and growth.png written in {time.monotonic() - began:.0f} s")
    return rows
