"""What the phases of `first_light` share: sizes, knobs of a run, and a line a result."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

PROFILE = "paper-partial"
RESULTS, REFERENCE = "first_light.jsonl", "cpu.npz"


@dataclass(frozen=True)
class Size:
    """How large the phases are; `SMALL` is for a test on a CPU."""

    width: int = 64
    batch: int = 2  # labelled clips of a step that is compared, after blending
    mu: int = 7
    clips: int = 64
    steps: int = 20
    timed_batch: int = 16
    timed_steps: int = 5
    repeats: int = 3
    clip_seconds: float = 5.0
    matrix: int = 8192
    lanes: int = 4  # runs of small networks at once, beside one of the wide network


SMALL = Size(
    width=1,
    batch=1,
    mu=1,
    clips=8,
    steps=3,
    timed_batch=1,
    timed_steps=1,
    repeats=1,
    clip_seconds=0.64,
    matrix=64,
    lanes=1,
)


def note(options, **values) -> None:
    """One result: a line of the file, and a line on the screen."""
    values = {"at": round(time.time() - options.start, 1)} | values
    with (options.out / RESULTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")
    print(json.dumps(values)[:240], flush=True)


def size_of(options) -> Size:
    return SMALL if options.small else Size()


def knobs_of(options, experiment: str, **changes):
    """Config of a run here: profile `paper-partial`, places of this machine."""
    from esc_utils import config

    work = options.work
    own = {"data_dir": str(work / "us8k"), "outputs": str(work / "outputs"), "cache_dir": str(work / "cache")}
    own |= {"device": options.device, "threads": options.threads} | options.knobs | changes
    if config.for_run(PROFILE, experiment, **own).network == "mn04":
        own["weights_path"] = str(options.carried / "mn04_as_mAP_432.pt")
    return config.for_run(PROFILE, experiment, **own)


def networks(options) -> dict[str, dict]:
    """Name -> knobs of the two networks that are measured."""
    return {"cnn14": {"pretrained": False, "width": size_of(options).width}, "mn04": {"pretrained": True}}


def device_of(device) -> str:
    from esc_utils.device import device_name

    return device_name(device)


def versions() -> dict:
    import torch

    from esc_suite.records import provenance

    return provenance.versions() | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
