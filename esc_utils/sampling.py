"""What each step draws: clips, SpecAugment stripes, mixup weights. A pure function of (seed, fold, epoch), on
the CPU, so that a resumed run, another device or another number of workers draws the same."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from .augment import SpecMasks, mixup_weights, views
from .knobs import RunConfig

LEAST_EPOCHS = 10  # of a run's history: a learning curve of fewer points says little

# Independent random streams of a run. What labelled clips get has streams of its own: a FixMatch run and its
# control, which draws nothing else, see the same labelled clips in the same views.
LABELLED, UNLABELLED, LABELLED_VIEWS, UNLABELLED_VIEWS, DROPOUT, START = range(6)


def stream_seed(config: RunConfig, stream: int, number: int) -> int:
    """63-bit seed of one random stream of a run, for step, epoch or pass `number`."""
    entropy = [config.seed, config.train_fold, stream, number]
    words = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


def shuffled(config: RunConfig, stream: int, count: int, first: int, length: int) -> np.ndarray:
    """Positions `first` to `first + length` of an endless sequence of shuffled passes over `count` clips."""
    passes = range(first // count, (first + length - 1) // count + 1)
    order = [np.random.default_rng(stream_seed(config, stream, p)).permutation(count) for p in passes]
    return np.concatenate(order)[first - passes[0] * count :][:length]


@dataclass(frozen=True)
class Budget:
    """Steps of a run. `per_epoch`: steps between two lines of the history, one pass over a pool (of FixMatch
    and its control the unlabelled one, else that of `epoch_of`), or a tenth of a run of fewer passes;
    `period`: steps between warm restarts, as a float."""

    steps: int
    per_epoch: int
    period: float

    @property
    def epochs(self) -> int:
        """Epochs of the history, the last one possibly shorter."""
        return -(-self.steps // self.per_epoch)


def budget(config: RunConfig, labelled: int, pool: int, labelled_folds: int = 1) -> Budget:
    """Steps of a run, as given or from its epochs [ledger 14]; labelled, pool: numbers of labelled and of
    unlabelled clips.

    An unlabelled epoch is counted with mixup's 2 mu B clips a step for every row, so that rows with and
    without FixMatch or mixup share one number of steps (Table 2)."""
    per_pass = max(1, pool // (2 * config.mu * config.fixmatch_batch_size))
    own = max(1, labelled // (config.batch_size * (2 if config.mixup else 1)))
    per_epoch = own if config.epoch_of == "labelled" else per_pass
    if config.method == "probe":
        return Budget(0, per_epoch, 1.0)
    scale = labelled_folds if config.steps_scale == "labelled_folds" else 1
    steps = config.steps * scale or config.epochs * per_epoch
    if config.method in ("fixmatch", "control"):
        per_epoch = steps_a_pass(config, pool)
    return Budget(
        steps, min(per_epoch, -(-steps // LEAST_EPOCHS)), steps * config.restart_every / config.epochs
    )


def labelled_batch(config: RunConfig) -> int:
    """Labelled clips loaded a step: twice the batch size where pairs are blended."""
    size = config.batch_size if config.method == "supervised" else config.fixmatch_batch_size
    return size * (2 if config.mixup and config.mixup_pairs == "within" else 1)


def unlabelled_batch(config: RunConfig) -> int:
    """Unlabelled clips loaded a step: mu B, or 2 mu B where pairs are blended (paper, section 4.3)."""
    pairs = 2 if config.mixup and config.mixup_pairs == "within" else 1
    return config.mu * config.fixmatch_batch_size * pairs


def steps_a_pass(config: RunConfig, pool: int) -> int:
    """Steps of one FixMatch pass over `pool` unlabelled clips; what does not fill a batch is left out."""
    return max(1, pool // unlabelled_batch(config))


def clips_a_step(config: RunConfig) -> int:
    """Labelled and unlabelled clips loaded a step."""
    return labelled_batch(config) + (unlabelled_batch(config) if config.method == "fixmatch" else 0)


@dataclass(frozen=True)
class Draw:
    """One step: positions of clips in their pool, stripes of each view, mixup weights (None: no blending)."""

    labelled: Tensor
    labelled_masks: SpecMasks
    weights: Tensor | None
    unlabelled: Tensor | None = None
    weak_masks: SpecMasks | None = None
    strong_masks: SpecMasks | None = None
    unlabelled_weights: Tensor | None = None
    partner: Tensor | None = None  # MixMatch's mixup: whom each labelled and unlabelled clip is blended with


def draw_epoch(
    config: RunConfig, budget: Budget, epoch: int, labelled: int, pool: int, shape: tuple[int, int]
) -> list[Draw]:
    """All draws of one epoch; `shape` is (frames, mels) of a log-mel."""
    first = epoch * budget.per_epoch
    steps = min(budget.per_epoch, budget.steps - first)
    generator, others_generator = (
        torch.Generator().manual_seed(stream_seed(config, stream, epoch))
        for stream in (LABELLED_VIEWS, UNLABELLED_VIEWS)
    )
    augment = views(config)
    fixmatch = config.method == "fixmatch"
    label_view = augment[config.label_view]
    nl, nu = labelled_batch(config), unlabelled_batch(config)
    own = shuffled(config, LABELLED, labelled, first * nl, steps * nl).reshape(steps, nl)
    if fixmatch:
        others = unlabelled_rows(config, pool, first, steps)
    draws = []
    for step in range(steps):
        draw = {
            "labelled": torch.from_numpy(own[step]),
            "labelled_masks": label_view.draw(nl, *shape, generator),
            "weights": _weights(config, nl, generator),
        }
        if fixmatch:
            draw |= {
                "unlabelled": torch.from_numpy(others[step]),
                "weak_masks": augment["weak"].draw(nu, *shape, others_generator),
                "strong_masks": augment["strong"].draw(nu, *shape, others_generator),
                "unlabelled_weights": _weights(config, nu, others_generator),
            }
            if config.mixup_pairs == "mixmatch":
                draw["partner"] = torch.randperm(nl + nu, generator=others_generator)
        draws.append(Draw(**draw))
    return draws


def unlabelled_rows(config: RunConfig, pool: int, first: int, steps: int) -> np.ndarray:
    """Positions of the unlabelled clips of steps `first` to `first + steps`, (steps, clips a step). Each pass
    shuffles the pool anew, so the rest that does not fill a batch is another one each time."""
    length, batch = steps_a_pass(config, pool), unlabelled_batch(config)
    rows = []
    for number in range(first // length, (first + steps - 1) // length + 1):
        order = np.random.default_rng(stream_seed(config, UNLABELLED, number)).permutation(pool)
        rows.append(np.resize(order[: length * batch], (length, batch)))
    return np.concatenate(rows)[first % length :][:steps]


def moved(draws: list[Draw], device: torch.device) -> list[Draw]:
    """The same draws on a device: one transfer a field for all steps, not one a field and step."""
    together = {}
    for name in (field.name for field in fields(Draw)):
        values = [getattr(draw, name) for draw in draws]
        if values[0] is None:
            together[name] = values
        elif isinstance(values[0], SpecMasks):
            stripes = (_sent([getattr(v, kind) for v in values], device) for kind in ("time", "freq"))
            together[name] = [SpecMasks(time, freq) for time, freq in zip(*stripes, strict=True)]
        else:
            together[name] = _sent(values, device)
    return [Draw(*values) for values in zip(*together.values(), strict=True)]


def _sent(values: list[Tensor], device: torch.device) -> list[Tensor]:
    stacked = torch.stack(values)
    if device.type == "cuda":
        stacked = stacked.pin_memory()
    return list(stacked.to(device, non_blocking=True).unbind())


def _weights(config: RunConfig, clips: int, generator: torch.Generator) -> Tensor | None:
    if not config.mixup:
        return None
    if config.mixup_pairs == "mixmatch":  # MixMatch: the larger share stays with the clip itself
        weights = mixup_weights(clips, config.mixup_alpha, generator)
        return torch.maximum(weights, 1 - weights)
    return mixup_weights(clips // 2, config.mixup_alpha, generator)
