"""What a GPU says of this suite, in one go that fits a few minutes of a lent card.

python tools/bench/first_light.py --carried DIR --out DIR [--phases data,throughput,...] [--seconds 560]

The machine needs no network: --carried is what `make first-light` packs (clips, mn04's weights, wheels).
Phases, each in a process of its own with a time limit; one that fails is reported and passed over:
    data         unpack the clips, build both feature stores, train twenty FixMatch steps on the CPU in
                 float32; it goes on in the background of the next two
    throughput   clips a second of the paper's step at full width and of mn04's: plain, as a CUDA graph, and
                 the peers' way
    profile      kernels of a step by their share of its time
    agreement    the same twenty steps on the card, in float32, TF32 and bfloat16, against those of the CPU
    first_runs   an epoch from a file in PANN's published format, whose numbers are random, and some steps of
                 every kind of run
    runs         rows of Tables 2 to 5 on the clips that are there, profile `paper-partial`: several at once,
                 until time is up
Written as it comes, into --out: first_light.jsonl (a line a result) and records-<n>.tar.gz (records of
finished runs). A second call with --before DIR (what the first wrote) takes those records as done.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from first_light_agree import agreement, data
from first_light_common import note
from first_light_measure import profile, throughput
from first_light_runs import first_runs, runs_phase

LIMITS = {"data": 200, "throughput": 90, "profile": 45, "agreement": 70, "first_runs": 90, "runs": 600}  # s


PHASES = {
    "data": data,
    "throughput": throughput,
    "profile": profile,
    "agreement": agreement,
    "first_runs": first_runs,
    "runs": runs_phase,
}


def start(options, name: str) -> subprocess.Popen:
    own = [sys.executable, __file__, *options.words, "--phase", name, "--start", str(options.start)]
    return subprocess.Popen(own, start_new_session=True)


def finish(options, name: str, process: subprocess.Popen, limit: float) -> None:
    """Wait for a phase; past its limit stop it and all that it started."""
    limit = min(limit, options.seconds - (time.time() - options.start))
    try:
        status = process.wait(max(1.0, limit))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        note(options, phase=name, stopped_after=round(limit, 1))
        return
    note(options, phase=name, ended=status)


def every_phase(options) -> None:
    note(options, phases=options.phases)
    if options.before:
        from first_light_pack import unpack

        for path in sorted(options.before.glob("records-*.tar.gz")):
            unpack(path, options.work / "outputs")
    background = start(options, "data") if "data" in options.phases else None
    began = time.monotonic()
    for name in options.phases:
        if name == "data":
            continue
        if name in ("first_runs", "runs") and background is not None:
            finish(options, "data", background, LIMITS["data"] - (time.monotonic() - began))
            background = None
        finish(options, name, start(options, name), LIMITS[name] if options.device != "cpu" else 600)
    if background is not None:
        finish(options, "data", background, LIMITS["data"] - (time.monotonic() - began))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--carried", type=Path, required=True, help="folder that `make first-light` packed")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, default=Path("/tmp/first-light"), help="clips, stores and records"
    )
    parser.add_argument("--before", type=Path, help="what an earlier call wrote")
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--only", default="", help="experiments, in place of all")
    parser.add_argument(
        "--run-set", dest="run_knobs", action="append", default=[], metavar="KNOB=VALUE", help="of runs"
    )
    parser.add_argument(
        "--wide-set",
        dest="wide_knobs",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="of wide ones",
    )
    parser.add_argument("--more-seeds", default="", help="of Table 5's small networks, after everything else")
    parser.add_argument(
        "--set", dest="knobs", action="append", default=[], metavar="KNOB=VALUE", help="of everything"
    )
    parser.add_argument(
        "--record-wide", action="store_true", help="CUDA graphs in the runs of the wide network, too"
    )
    parser.add_argument("--ways", default="", help="of throughput, separated by semicolons, in place of all")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=2, help="of a run")
    parser.add_argument("--seconds", type=float, default=560, help="for everything")
    parser.add_argument("--small", action="store_true", help="tiny sizes, for a test")
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import yaml

    options.words = sys.argv[1:]
    options.start = options.start or time.time()
    options.phases = options.phases.split(",")
    options.more_seeds = [int(seed) for seed in options.more_seeds.split(",") if seed]
    for name in ("knobs", "run_knobs", "wide_knobs"):
        pairs = (pair.split("=", 1) for pair in getattr(options, name))
        setattr(options, name, {key: yaml.safe_load(value) for key, value in pairs})
    if unknown := set(options.phases) - set(PHASES):
        print(f"error: --phases {','.join(sorted(unknown))}: choose from {','.join(PHASES)}", file=sys.stderr)
        return 1
    options.carried, options.out, options.work = (
        path.resolve() for path in (options.carried, options.out, options.work)
    )
    for folder in (options.out, options.work):
        folder.mkdir(parents=True, exist_ok=True)
    if options.device == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    if options.phase:
        PHASES[options.phase](options)
    else:
        every_phase(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
