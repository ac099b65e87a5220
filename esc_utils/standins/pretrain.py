"""Remakes the backbone that `quick` fine-tunes: `python -m esc_utils.standins.pretrain`, one CPU core, no
download.

A narrow CNN14 learns the classes of the broad synthesised corpus with mixup, as PANN learned AudioSet's.
Written to esc_utils/standins/assets/: backbone.safetensors (PANN's keys, without the head) and backbone.json
(how it was made, its scores).
"""

import argparse
import json
import time
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
CHUNK = 700  # clips rendered at a time


def log_mels(clips: int, clip_seconds: float, seed: int, classes: int, first_part: int = 0):
    """Log-mels (clips, 1, frames, mels) float16 and labels (clips,) of the broad corpus, from `first_part`
    on."""
    import torch

    from ..features import LogMel
    from .corpus import render_corpus

    front, mels, labels = LogMel(), [], []
    for part in range(-(-clips // CHUNK)):
        count = min(CHUNK, clips - part * CHUNK)
        waves, found = render_corpus(count, clip_seconds, seed=seed, classes=classes, part=first_part + part)
        with torch.inference_mode():
            mels += [front(batch).half() for batch in torch.from_numpy(waves).split(100)]
        labels.append(torch.from_numpy(found))
        print(f"rendered {part * CHUNK + count} of {clips} clips", flush=True)
    return torch.cat(mels), torch.cat(labels)


def train_backbone(
    mels, labels, classes: int, width: int, steps: int, batch: int, rate: float, seed: int, dropout=(0.0, 0.0)
):
    """Supervised training with SpecAugment and mixup: AdamW, one cosine after a short warm-up. Returns the
    model."""
    import math

    import torch
    from torch.nn import functional as F

    from ..augment import WEAK, mixup, mixup_weights
    from ..fast import lay_out
    from ..model import Cnn14

    torch.manual_seed(seed)
    model = lay_out(Cnn14(classes, width=width, dropout=dropout), torch.device("cpu")).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, amsgrad=True)
    warm = max(1, steps // 20)
    began, mean, order = time.monotonic(), 0.0, torch.empty(0, dtype=torch.long)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        if len(order) < 2 * batch:
            order = torch.cat([order, torch.randperm(len(mels))])
        rows, order = order[: 2 * batch], order[2 * batch :]
        weights = mixup_weights(batch)
        logits = model(mels[rows].float(), view=lambda z, w=weights: mixup(WEAK(z), w))
        loss = weights * F.cross_entropy(logits, labels[rows[0::2]], reduction="none")
        loss = (loss + (1 - weights) * F.cross_entropy(logits, labels[rows[1::2]], reduction="none")).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        mean += (loss.item() - mean) / min(step + 1, 100)
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1} of {steps}, loss {mean:.3f}, {time.monotonic() - began:.0f} s", flush=True
            )
    return model.eval()


def accuracy(model, mels, labels) -> float:
    """Share of clips classified right, in percent."""
    import torch

    with torch.inference_mode():
        right = [
            (model(x.float()).argmax(1) == y).sum()
            for x, y in zip(mels.split(64), labels.split(64), strict=True)
        ]
    return 100 * sum(right).item() / len(labels)


def save_backbone(model, folder: Path, record: dict) -> None:
    """Write backbone.safetensors (every tensor but the head's, float32) and backbone.json."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith("fc_transfer.")}
    save_file(tensors, folder / "backbone.safetensors", metadata={"made_by": record["command"]})
    (folder / "backbone.json").write_text(json.dumps(record, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Render the corpus, train, score on held-out recordings, save."""
    parser = argparse.ArgumentParser(prog="python -m esc_utils.standins.pretrain", description=__doc__)
    parser.add_argument("--clips", type=int, default=8400, help="clips of the corpus")
    parser.add_argument("--classes", type=int, default=70)
    parser.add_argument("--clip-seconds", type=float, default=1.28)
    parser.add_argument("--width", type=int, default=8, help="channels of the first block")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16, help="clips a step, after blending")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="one thread makes the same weights each time")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write to")
    knobs = parser.parse_args(arguments)

    import torch
    import torchaudio

    from .. import __version__

    torch.set_num_threads(knobs.threads)
    began = time.monotonic()
    held_out = max(knobs.classes, knobs.clips // 10)
    mels, labels = log_mels(knobs.clips, knobs.clip_seconds, knobs.seed, knobs.classes)
    others, truth = log_mels(held_out, knobs.clip_seconds, knobs.seed, knobs.classes, first_part=1000)
    model = train_backbone(
        mels, labels, knobs.classes, knobs.width, knobs.steps, knobs.batch, knobs.rate, knobs.seed
    )
    record = {
        "what": f"CNN14 of width {knobs.width}, pretrained on synthesised audio only; it has heard no real "
        "sound",
        "command": "python -m esc_utils.standins.pretrain" + _changed(parser, knobs),
        **{k: v for k, v in vars(knobs).items() if k != "out"},
        "epochs": round(knobs.steps * 2 * knobs.batch / knobs.clips, 1),
        "held_out_clips": held_out,
        "held_out_accuracy": round(accuracy(model, others, truth), 1),
        "chance_accuracy": round(100 / knobs.classes, 1),
        "parameters": sum(p.numel() for k, p in model.named_parameters() if not k.startswith("fc_transfer.")),
        "seconds": round(time.monotonic() - began),
        "versions": {
            "esc_utils": __version__,
            "torch": torch.__version__,
            "torchaudio": torchaudio.__version__,
        },
    }
    save_backbone(model, knobs.out, record)
    print(f"{knobs.out / 'backbone.safetensors'}: {record['held_out_accuracy']}% of held-out clips right")


def _changed(parser: argparse.ArgumentParser, knobs: argparse.Namespace) -> str:
    """The arguments that differ from the defaults, as typed; the folder is no part of the recipe."""
    given = {k: v for k, v in vars(knobs).items() if k != "out" and v != parser.get_default(k)}
    return "".join(f" --{key.replace('_', '-')} {value}" for key, value in given.items())


if __name__ == "__main__":
    main()
