"""Phases of `first_light` that measure: clips a second, and the kernels of a step."""

import time

import numpy as np
from first_light_common import device_of, networks, note, size_of, versions


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
