"""Phases of `first_light`: the clips and their stores, and whether card and CPU take the same steps."""

import os
import subprocess
import sys
import time

import numpy as np
from first_light_common import REFERENCE, knobs_of, networks, note, size_of


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
