"""What a GPU says of this suite, in one go that fits a few minutes of a lent card.

python tools/bench/first_light.py --carried DIR --out DIR [--phases data,throughput,...] [--seconds 560]

The machine needs no network: --carried is what `make first-light` packs (clips, mn04's weights, wheels).
Phases, each in a process of its own with a time limit; one that fails is reported and passed over:
    data         unpack the clips, build both feature stores, train twenty FixMatch steps on the CPU in
                 float32;
                 it goes on in the background of the next two
    throughput   clips a second of the paper's step at full width and of mn04's: plain, as a CUDA graph, and
                 the peers' way
    profile      kernels of a step by their share of its time
    agreement    the same twenty steps on the card, in float32, TF32 and bfloat16, against those of the CPU
    first_runs   an epoch from a file in PANN's published format, whose numbers are random, and some steps of
                 every kind
                 of run
    runs         rows of Tables 2 to 5 on the clips that are there, profile `paper-partial`: several at once,
                 until time
                 is up
Written as it comes, into --out: first_light.jsonl (a line a result) and records-<n>.tar.gz (records of
finished runs). A second call with --before DIR (what the first wrote) takes those records as done.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402

BEGAN = time.monotonic()
LIMITS = {"data": 200, "throughput": 90, "profile": 45, "agreement": 70, "first_runs": 90, "runs": 600}  # s
PROFILE = "paper-partial"
MOST_BYTES = 15_000_000  # of one archive of records
RESULTS, REFERENCE = "first_light.jsonl", "cpu.npz"
TABLES = (2, 3, 4, 5)
MORE_SEEDS = ("fixmatch_tau075", "pann_control")
FIRST_RUNS = (  # experiment, and whether its steps may be CUDA graphs
    ("fixmatch_tau075", True), ("fixmatch_tau075", False), ("fixmatch_tau075_sgd", True),
     ("fixmatch_tau075_accum", True),
    ("fixmatch_tau075_ranger", True), ("pann_control", True), ("pann_control", False), ("cnn14_fixmatch",
     True),
    ("cnn14_fixmatch", False), ("pann_probe", True), ("pann_table2", True),
)  # fmt: skip


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


# ---- data ----------------------------------------------------------------------------------------
def data(options) -> None:
    """Clips, stores, and the twenty steps on the CPU."""
    import torch

    from esc_utils import features, urbansound

    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 4))
    if (options.carried / "unpack.py").is_file() and not (options.work / "us8k").is_dir():
        subprocess.run([sys.executable, options.carried / "unpack.py", options.work / "us8k"], check=True)
    for knobs in networks(options).values():
        chosen = knobs_of(options, "fixmatch_tau075", **knobs)
        store = features.open_store(chosen, urbansound.open_dataset(chosen))
        note(
            options,
            phase="data",
            store=chosen.network,
            clips=len(store),
            frames=store.shape[1],
            mels=store.shape[2],
        )
    found = {}
    for name in networks(options) if "agreement" in options.phases else ():
        began = time.monotonic()
        for key, values in trajectory(options, name, "cpu", torch.float32).items():
            found[f"{name}_{key}"] = values
        note(options, phase="data", steps_on_cpu=name, seconds=round(time.monotonic() - began, 1))
    partial = options.work / f"partial-{REFERENCE}"
    np.savez(partial, **found)
    partial.rename(options.work / REFERENCE)


def trajectory(options, name: str, device: str, dtype, tf32: bool = False) -> dict[str, np.ndarray]:
    """Losses and mask rates of some FixMatch steps on real clips, and the logits of all clips at the end
    (eval mode).

    The draws are those of the CPU everywhere. Dropout is off, since its random numbers are each device's own.
    The threshold is low, so that masks count from the first step, and so is the learning rate, so that steps
    do not multiply rounding."""
    import torch

    from esc_utils import features, urbansound
    from esc_utils.fast import lay_out
    from esc_utils.optim import optimizer
    from esc_utils.sampling import Budget, draw_epoch, moved
    from esc_utils.start import build_model
    from esc_utils.steps import fixmatch_step

    size = size_of(options)
    changes = {"fixmatch_batch_size": size.batch, "mu": size.mu, "tau": 0.13, "learning_rate": 5.0e-5}
    changes |= {"dropout_block": 0.0, "dropout_head": 0.0}
    knobs = knobs_of(options, "fixmatch_tau075", **(networks(options)[name] | changes))
    dataset = urbansound.open_dataset(knobs)
    store = features.open_store(knobs, dataset)
    rows = np.linspace(0, len(store) - 1, size.clips).astype(int)
    place = torch.device(device)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    levels = torch.from_numpy(np.ascontiguousarray(store[rows])).float().unsqueeze(1).to(place)
    labels = torch.from_numpy(dataset.clips["class_id"].to_numpy()[rows]).to(place)
    model = build_model(knobs)
    if hasattr(model, "set_statistics"):
        model.set_statistics(levels.cpu())
    model = lay_out(model, place).train()
    chosen = optimizer(
        knobs, [{"params": [p for p in model.parameters() if p.requires_grad], "lr": knobs.learning_rate}]
    )
    plan = Budget(size.steps, size.steps, 1.0)
    losses, rates = [], []

    def precision():
        return torch.autocast(place.type, dtype=dtype, enabled=dtype != torch.float32)

    for draw in moved(draw_epoch(knobs, plan, 0, len(rows), len(rows), tuple(levels.shape[2:])), place):
        with precision():
            found = fixmatch_step(
                model, knobs, draw, levels[draw.labelled], labels[draw.labelled], levels[draw.unlabelled]
            )
        found.loss.backward()
        chosen.step()
        chosen.zero_grad(set_to_none=True)
        losses.append(found.loss.item())
        rates.append(found.mask_rate.item())
    model.eval()
    with torch.inference_mode(), precision():
        logits = model(levels).float().cpu().numpy()
    return {"loss": np.array(losses), "mask_rate": np.array(rates), "logits": logits}


def agreement(options) -> None:
    """The card's twenty steps against the CPU's."""
    import torch

    file = options.work / REFERENCE
    while not file.is_file():
        time.sleep(0.5)
    theirs = np.load(file)
    ways = {
        "float32": (torch.float32, False),
        "float32, TF32": (torch.float32, True),
        "bfloat16": (torch.bfloat16, False),
    }
    for name in networks(options):
        for way, (dtype, tf32) in ways.items():
            ours = trajectory(options, name, options.device, dtype, tf32)
            loss, wanted = ours["loss"], theirs[f"{name}_loss"]
            gap = np.abs(loss - wanted) / np.abs(wanted)
            logits = theirs[f"{name}_logits"]
            note(
                options,
                phase="agreement",
                network=name,
                way=way,
                steps=len(loss),
                loss_first=float(gap[0]),
                loss_5=float(gap[:5].max()),
                loss_all=float(gap.max()),
                logits=float(np.linalg.norm(ours["logits"] - logits) / np.linalg.norm(logits)),
                same_class=float((ours["logits"].argmax(1) == logits.argmax(1)).mean()),
                losses=[round(float(value), 6) for value in loss],
                losses_cpu=[round(float(value), 6) for value in wanted],
                mask_rate=float(ours["mask_rate"].mean()),
            )


# ---- throughput ----------------------------------------------------------------------------------
def throughput(options) -> None:
    """Clips a second of every way, each alone on the card."""
    import accelerator
    import sides
    import timing
    import torch

    size, device = size_of(options), accelerator.choose(options.device)
    cuda = device.type == "cuda"
    half = torch.bfloat16 if cuda else torch.float32
    torch.manual_seed(0)
    rate = timing.matrix_rate(device, half, size.matrix, size.repeats, 5)
    note(options, phase="throughput", device=device_of(device), versions=versions(), matrix_rate=rate)
    scale = accelerator.Scale(
        width=size.width, batch=2 * size.timed_batch, fixmatch_batch=size.timed_batch, mu=size.mu,
        scored=256 if cuda else 2,
        clip_seconds=size.clip_seconds, dtype=half, steps=size.timed_steps, repeats=size.repeats,
    )  # fmt: skip

    def ours(side=sides.Ours, **how):
        return lambda knobs, pool: side(knobs, pool, **({"dtype": half} | how))

    graph = ours(sides.Replayed)
    ways = [
        ("mn04", "fixmatch", "ours", ours()),
        ("mn04", "fixmatch", "ours, contiguous", ours(contiguous=True)),
        ("mn04", "fixmatch", "ours, one CUDA graph a step", graph),
        (
            "mn04",
            "fixmatch",
            "ours, one CUDA graph a step, contiguous",
            ours(sides.Replayed, contiguous=True),
        ),
        (
            "mn04",
            "fixmatch",
            "ours, one CUDA graph a step, float32",
            ours(sides.Replayed, dtype=torch.float32),
        ),
        ("cnn14", "fixmatch", "ours", ours()),
        ("cnn14", "fixmatch", "ours, one CUDA graph a step", graph),
        ("cnn14", "fixmatch", "ours, contiguous", ours(contiguous=True)),
        ("cnn14", "fixmatch", "peers, as PyTorch comes", sides.Plain),
        ("cnn14", "supervised", "ours", ours()),
        ("cnn14", "scoring", "ours", ours()),
        ("mn04", "supervised", "ours, one CUDA graph a step", graph),
        ("cnn14", "fixmatch", "ours, float32", ours(dtype=torch.float32)),
        ("cnn14", "scoring", "peers, as PyTorch comes", sides.Plain),
        ("cnn14", "supervised", "peers, as PyTorch comes", sides.Plain),
        ("cnn14", "fixmatch", "peers, TF32 off", sides.Plain),
        ("cnn14", "fixmatch", "ours, cuDNN's search", ours()),
    ]
    chosen = options.ways.split(";") if options.ways else None
    for network, kind, way, make in ways:
        if (not cuda and "CUDA" in way) or (chosen and f"{network} {kind} {way}" not in chosen):
            continue
        began = time.monotonic()
        changes = {"backbone": "mn04"} if network == "mn04" else {}
        with accelerator.convolutions("as PyTorch comes" in way, "search" in way):
            found = accelerator.attempt(
                lambda make=make, kind=kind, changes=changes: (
                    accelerator.scoring(make, device, scale, **changes)
                    if kind == "scoring"
                    else accelerator.training(make, kind, device, scale, **changes)
                )
            )
        values = {"phase": "throughput", "network": network, "step": kind, "way": way}
        if isinstance(found, str):
            note(options, **values, failed=found)
            continue
        seconds = float(np.median(found.seconds))
        note(
            options,
            **values,
            milliseconds=1000 * seconds,
            all_milliseconds=[round(1000 * value, 3) for value in found.seconds],
            clips=found.clips,
            clips_per_second=found.clips / seconds,
            share_of_matrix_rate=found.operations / seconds / rate,
            peak_gb=None if found.peak is None else found.peak / 1e9,
            took=round(time.monotonic() - began, 1),
        )
    if chosen is None or "kernels" in chosen:
        kernels(options)


def profile(options) -> None:
    """Where a FixMatch step's time goes on the card: kernels by their share."""
    import accelerator
    import sides
    import torch
    from torch.profiler import ProfilerActivity

    size, device = size_of(options), accelerator.choose(options.device)
    cuda = device.type == "cuda"
    for network in networks(options):
        scale = accelerator.Scale(
            width=size.width, fixmatch_batch=size.timed_batch, mu=size.mu, clip_seconds=size.clip_seconds
        )
        knobs = scale.knobs("fixmatch", **({"backbone": "mn04"} if network == "mn04" else {}))
        pool = sides.Pool(knobs, 2 * sides.loaded(knobs), device, of="levels")
        side = sides.Ours(knobs, pool, torch.bfloat16 if cuda else torch.float32)
        side.train(size.timed_steps)
        wanted = "DeviceType.CUDA" if cuda else "DeviceType.CPU"
        with torch.profiler.profile(
            activities=[ProfilerActivity.CPU] + cuda * [ProfilerActivity.CUDA]
        ) as profiler:
            side.train(3)
            if cuda:
                torch.cuda.synchronize()
        events = [event for event in profiler.key_averages() if str(event.device_type) == wanted]
        events = [
            (e.key, e.self_device_time_total if cuda else e.self_cpu_time_total, e.count) for e in events
        ]
        total = sum(spent for _, spent, _ in events) or 1
        top = sorted(events, key=lambda event: -event[1])[:40]
        kernels = [[key[:160], round(spent / 3000, 3), count // 3] for key, spent, count in top]
        note(options, phase="profile", network=network, milliseconds=total / 3000, kernels=kernels)


def kernels(options) -> None:
    """Single operations of a step that the profile shows, in other ways, on tensors of CNN14's first two
    blocks."""
    import torch

    if options.device == "cpu":
        return
    for shape in ((112, 64, 501, 64), (112, 128, 250, 32)):
        for way, work in operations(shape).items():
            try:
                work(), work()
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                for _ in range(10):
                    work()
                end.record()
                end.synchronize()
                note(
                    options, phase="kernels", shape=shape, way=way, milliseconds=begin.elapsed_time(end) / 10
                )
            except RuntimeError as error:
                note(options, phase="kernels", shape=shape, way=way, failed=str(error).splitlines()[0][:120])


def operations(shape: tuple[int, ...]) -> dict:
    """Name -> one operation on a tensor of this shape on the card, to be called."""
    import torch
    from torch.nn import functional as F

    from esc_utils.fast import Halve

    cudnn = torch.ops.aten.cudnn_batch_norm.default
    x = torch.randn(shape, device="cuda").bfloat16().to(memory_format=torch.channels_last)
    weight, mean = torch.ones(shape[1], device="cuda"), torch.zeros(shape[1], device="cuda")
    differentiated = x.detach().requires_grad_()
    pooled, halved = F.avg_pool2d(differentiated, 2), Halve.apply(differentiated)
    gradient = torch.randn_like(pooled)
    out, saved, inverse = torch.native_batch_norm(
        x, weight, mean, mean.clone(), weight.clone(), True, 0.1, 1e-5
    )
    flags = [True, True, True]
    return {
        "copy": lambda: x.clone(),
        "avg_pool2d": lambda: F.avg_pool2d(x, 2),
        "Halve": lambda: Halve.apply(x),
        "bilinear": lambda: F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False),
        "avg_pool2d, backward": lambda: torch.autograd.grad(
            pooled, differentiated, gradient, retain_graph=True
        ),
        "Halve, backward": lambda: torch.autograd.grad(halved, differentiated, gradient, retain_graph=True),
        "batch_norm": lambda: torch.native_batch_norm(x, weight, mean, mean, weight, True, 0.0, 1e-5),
        "cuDNN's batch norm": lambda: cudnn(x, weight, mean, mean, weight, True, 0.0, 1e-5),
        "batch_norm_stats": lambda: torch.batch_norm_stats(x, 1e-5),
        "batch_norm_elemt": lambda: torch.batch_norm_elemt(x, weight, mean, saved, inverse, 1e-5),
        "var_mean": lambda: torch.var_mean(x, dim=(0, 2, 3)),
        "sum": lambda: x.sum((0, 2, 3), dtype=torch.float32),
        "norm": lambda: torch.linalg.vector_norm(x, dim=(0, 2, 3), dtype=torch.float32),
        "batch_norm, backward": lambda: torch.ops.aten.native_batch_norm_backward.default(
            x, out, weight, mean, weight, saved, inverse, True, 1e-5, flags
        ),
        "relu_": lambda: x.relu_(),
        "dropout": lambda: F.dropout(x, 0.2),
    }


def device_of(device) -> str:
    from esc_utils.device import device_name

    return device_name(device)


def versions() -> dict:
    import torch

    from esc_utils import provenance

    return provenance.versions() | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


# ---- a checkpoint, and runs ----------------------------------------------------------------------
def first_runs(options) -> None:
    """An epoch of PANN's row from a file in the published format; its numbers are random, so its scores say
    nothing."""
    import torch

    from esc_utils import training
    from esc_utils.model import Cnn14
    from esc_utils.weights import front_end_tensors

    size = size_of(options)
    torch.manual_seed(0)
    model = Cnn14(10, width=size.width)
    tensors = front_end_tensors()
    tensors |= {key: value for key, value in model.state_dict().items() if not key.startswith("fc_transfer.")}
    tensors |= {
        "fc_audioset.weight": torch.zeros(527, model.fc1.out_features),
        "fc_audioset.bias": torch.zeros(527),
    }
    path, sampler = options.work / "published.pth", {"pointers": [0, np.int64(1)], "indexes": [np.arange(3)]}
    torch.save({"iteration": 0, "model": tensors, "sampler": sampler}, path)
    published = {"backbone": "pann", "weights_path": str(path), "width": size.width}
    for experiment, recorded in FIRST_RUNS:
        changes = published | {"steps": 13} if experiment == "pann_table2" else {"steps": size.steps}
        outputs = str(options.work / f"first-{recorded}")
        knobs = knobs_of(options, experiment, **changes, outputs=outputs)
        with mock.patch.object(training, "usable", training.usable if recorded else lambda *_: False):
            run = training.run(knobs, quiet=True)
        values = {
            key: run.metrics[key]
            for key in ("experiment", "backbone", "steps", "seconds", "clips_per_second")
        }
        last = run.history.iloc[-1]
        note(options, phase="first_runs", recorded=recorded, loss=float(last["loss"] or 0), **values)


def listed_runs(options) -> list[tuple[str, int, int]]:
    """(experiment, fold, seed) of Tables 2 to 4, then of Table 5 fold by fold, each once; more seeds come
    last.

    First those whose optimizer is not part of the record, for they take longest, then FixMatch and what it is
    compared with."""
    from esc_suite.run import plan
    from esc_utils import graphs

    folds = list(plan.whole_folds(knobs_of(options, "")))
    tables = plan.tables()
    found = [job for n in TABLES[:-1] for job in plan.jobs(tables[n], folds, [0])]
    found.sort(
        key=lambda job: (
            graphs.optimizer_too(knobs_of(options, job.experiment)),
            job.experiment not in MORE_SEEDS,
        )
    )
    last = plan.jobs(tables[TABLES[-1]], folds, [0])
    last.sort(
        key=lambda job: (folds.index(job.fold), knobs_of(options, job.experiment).method == "supervised")
    )
    more = [
        (job.experiment, job.fold, seed)
        for seed in options.more_seeds
        for job in last
        if job.experiment in MORE_SEEDS
    ]
    jobs = [*((job.experiment, job.fold, job.seed) for job in found + last), *more]
    chosen = options.only.split(",") if options.only else None
    return [run for run in dict.fromkeys(jobs) if chosen is None or run[0] in chosen]


def one_run(options, experiment: str, fold: int, seed: int, knobs: dict) -> str:
    """Train one run in this process; returns its folder."""
    from esc_suite.run import plan
    from esc_utils import training

    training.SAVING_SHARE = 0.0  # no checkpoint but the first: what is not finished in time is lost
    if knobs_of(options, experiment).network == "cnn14" and not options.record_wide:
        training.usable = lambda *_: False
    validates = plan.whole_folds(knobs_of(options, ""))
    own = {"train_fold": fold, "valid_fold": validates[fold], "seed": seed} | knobs
    return str(training.run(knobs_of(options, experiment, **own), quiet=True).folder)


def ready_to_leave() -> None:
    """In a worker: a request to end is met between two operations, with nothing left on the card."""

    def leave(*_):
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)


def recorded_and_not(options) -> dict:
    """A few steps of the wide network with dropout, recorded and not: the losses of both."""
    from esc_utils import training

    found, usable = {}, training.usable
    for name, rule in (("recorded", usable), ("not", lambda *_: False)):
        knobs = knobs_of(
            options, "cnn14_fixmatch", steps=size_of(options).steps, outputs=str(options.work / name)
        )
        training.usable = rule
        run = training.run(knobs, quiet=True)
        found[f"losses_{name}"] = [float(value) for value in run.history["loss"].dropna()]
        found[f"seconds_{name}"] = run.metrics["seconds"]
    training.usable = usable
    return found


def runs_phase(options) -> None:
    """Every run that time allows; the wide network's one at a time, beside several of the small one."""
    archive = Archive(options.out)
    waiting, pools = {}, {}
    if "first_runs" not in options.phases:
        pools["wide"] = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=ready_to_leave)
        waiting[pools["wide"].submit(recorded_and_not, options)] = ("recorded_and_not", 1, 0)
    for experiment, fold, seed in listed_runs(options):
        lane = "wide" if knobs_of(options, experiment).network == "cnn14" else "small"
        if lane not in pools:
            lanes = 1 if lane == "wide" else size_of(options).lanes
            pools[lane] = ProcessPoolExecutor(lanes, get_context("spawn"), initializer=ready_to_leave)
        own = options.run_knobs | (options.wide_knobs if lane == "wide" else {})
        waiting[pools[lane].submit(one_run, options, experiment, fold, seed, own)] = (experiment, fold, seed)
    left = options.seconds - (time.time() - options.start)
    until = time.monotonic() + left - 8  # for the last archive, and for the transfer
    while waiting and (left := until - time.monotonic()) > 0:
        done, _ = wait(waiting, timeout=left, return_when=FIRST_COMPLETED)
        for job in done:
            experiment, fold, seed = waiting.pop(job)
            values = {"phase": "runs", "experiment": experiment, "fold": fold, "seed": seed}
            try:
                folder = job.result()
                if isinstance(folder, dict):
                    note(options, **values, **folder)
                    continue
                folder = Path(folder)
            except Exception as error:  # one run that fails must not take the others along
                note(options, **values, failed=" ".join(f"{type(error).__name__}: {error}".split())[:300])
                continue
            archive.add(folder, options.work / "outputs")
            metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            last = metrics["validation"]["last"]
            note(
                options, **values, steps=metrics["steps"], seconds=metrics["seconds"],
                accuracy=last["accuracy"],
                by_recording=last["accuracy_by_recording"], auc=last["auc_weighted"],
                clips_per_second=metrics["clips_per_second"],
            )  # fmt: skip
    note(options, phase="runs", unfinished=[list(run) for run in waiting.values()])
    for pool in pools.values():
        for worker in list(pool._processes.values()) if waiting else ():
            worker.terminate()
        pool.shutdown(cancel_futures=True)


class Archive:
    """Records of finished runs in archives of bounded size: records-0.tar.gz, records-1.tar.gz ... Each is
    closed, so whole, after every record; the newest is written anew to take the next one."""

    def __init__(self, out: Path):
        self.out, self.number, self.members = out, 0, []

    def add(self, folder: Path, outputs: Path) -> None:
        files = [
            path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".csv", ".npz", ".txt")
        ]
        new = [(str(path.relative_to(outputs)), path.read_bytes()) for path in files]
        if self.members and sum(len(content) for _, content in self.members + new) > MOST_BYTES:
            self.number, self.members = self.number + 1, []
        self.members += new
        partial = self.out / ".records"
        with tarfile.open(partial, "w:gz", compresslevel=1) as tar:
            for name, content in self.members:
                about = tarfile.TarInfo(name)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
        partial.rename(self.out / f"records-{self.number}.tar.gz")


# ---- all phases, one after the other -------------------------------------------------------------
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
