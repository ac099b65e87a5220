"""The two sides of every comparison: the suite's training step, and the plain one of reference.py, on the
same clips."""

import numpy as np
import reference
import torch
from timing import CPU, usual_allocator
from torch import Tensor

from esc_utils import allocator, config, features, steps
from esc_utils.augment import views
from esc_utils.fast import lay_out
from esc_utils.graphs import StepGraph
from esc_utils.model import Cnn14
from esc_utils.optim import optimizer, rates_on
from esc_utils.sampling import Budget, Draw, draw_epoch, labelled_batch, moved, unlabelled_batch
from esc_utils.standins.mn04 import Mn04
from esc_utils.urbansound import CLASSES

# Mn04's
LITE = {"backbone": "mn04", "clip_seconds": 4.0, "batch_size": 16, "fixmatch_batch_size": 16, "mu": 3}
EXPERIMENTS = {"fixmatch": "fixmatch_tau075", "supervised": "pann_10"}


def knobs_of(method: str, width: int, **changes) -> config.RunConfig:
    """Knobs of one step, the paper's but for batches that fit a small machine: FixMatch at mu = 7 and B = 4,
    or 2 where the network is wide."""
    wide = width > 16
    small = {"fixmatch_batch_size": 2 if wide else 4, "batch_size": 16 if wide else 32}
    return config.for_run("paper", EXPERIMENTS[method], width=width, **(small | changes))


def loaded(knobs: config.RunConfig) -> int:
    """Clips that a step loads."""
    return labelled_batch(knobs) + (unlabelled_batch(knobs) if knobs.method == "fixmatch" else 0)


def network(knobs: config.RunConfig) -> torch.nn.Module:
    """The network of a run from random start, mn04, too."""
    if knobs.network == "mn04":
        return Mn04(len(CLASSES))
    return Cnn14(len(CLASSES), width=knobs.width, dropout=(knobs.dropout_block, knobs.dropout_head))


class Pool:
    """Random clips, at least as many as a step draws: audio (clips, samples), log-mels (clips, frames, mels)
    in float16 (`exact`: float32, for comparing losses) and labels (clips,). On an accelerator all of them lie
    there.

    of: "both", or "audio" or "levels" alone; levels alone are random numbers of the usual size, made at
    once."""

    def __init__(
        self,
        knobs: config.RunConfig,
        clips: int = 0,
        device: torch.device = CPU,
        exact: bool = False,
        of: str = "both",
    ):
        clips = max(
            clips, labelled_batch(knobs), unlabelled_batch(knobs) if knobs.method == "fixmatch" else 0
        )
        front = features.front_end(knobs.network).eval()
        samples = round(knobs.clip_seconds * front.sample_rate)
        generator = torch.Generator().manual_seed(0)
        waves = 0.1 * torch.randn(1 if of == "levels" else clips, samples, generator=generator)
        with torch.inference_mode():
            parts = [front(part) for part in (waves if of == "both" else waves[:1]).split(32)]
        store = torch.cat(parts).squeeze(1)
        if of == "levels":
            store = store.mean() + 10 * torch.randn(clips, *store.shape[1:], generator=generator)
        store = store if exact else store.to(torch.float16)
        self.device, self.shape = device, tuple(store.shape[1:])
        self.store = store.numpy() if device.type == "cpu" else store.to(device)
        self.waves, self.labels = waves.to(device), (torch.arange(clips) % len(CLASSES)).to(device)

    def levels(self, rows: Tensor) -> Tensor:
        """Log-mels (B, 1, frames, mels) of some clips, float32."""
        found = (
            torch.from_numpy(self.store[rows.numpy()])
            if isinstance(self.store, np.ndarray)
            else self.store[rows]
        )
        return found.float().unsqueeze(1)


class Side:
    """One way to train: `loss(draw)` and an `optimizer` come from the two classes below."""

    def __init__(self, knobs: config.RunConfig, pool: Pool):
        self.knobs, self.pool, self.epoch = knobs, pool, 0

    def draws(self, steps: int) -> list[Draw]:
        """Fresh draws of some steps, on the device of the pool."""
        clips, plan = len(self.pool.labels), Budget(10**9, steps, 1.0)
        self.epoch += 1
        drawn = draw_epoch(self.knobs, plan, self.epoch, clips, clips, self.pool.shape)
        return moved(drawn, self.pool.device)

    def train(self, steps: int = 1) -> None:
        """Optimizer steps from what is stored to updated weights; the next call goes on with other draws."""
        for draw in self.draws(steps):
            self.loss(draw).backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


class Ours(Side):
    """The suite's way: log-mels from the store, autocast to `dtype`, the optimizer of the knobs.

    contiguous: not the layout of fast.lay_out."""

    def __init__(self, knobs, pool: Pool, dtype: torch.dtype = torch.float32, contiguous: bool = False):
        super().__init__(knobs, pool)
        torch.manual_seed(0)
        self.model = lay_out(network(knobs), pool.device).train()
        if contiguous:
            self.model.to(memory_format=torch.contiguous_format)
        self.dtype = dtype
        if pool.device.type == "cpu":
            allocator.keep_freed()
        self.optimizer = optimizer(
            knobs, [{"params": list(self.model.parameters()), "lr": knobs.learning_rate}]
        )

    def autocast(self):
        return torch.autocast(self.pool.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def loss(self, draw: Draw) -> Tensor:
        """Loss of one step."""
        pool, knobs = self.pool, self.knobs
        with self.autocast():
            x, y = pool.levels(draw.labelled), pool.labels[draw.labelled]
            if knobs.method == "fixmatch":
                return steps.fixmatch_step(self.model, knobs, draw, x, y, pool.levels(draw.unlabelled)).loss
            return steps.supervised_step(self.model, knobs, draw, x, y).loss

    @torch.inference_mode()
    def score(self, rows: Tensor) -> Tensor:
        """Logits of unaugmented clips."""
        self.model.eval()
        with self.autocast():
            return self.model(self.pool.levels(rows))


class Replayed(Ours):
    """The same step as one CUDA graph: forward passes, backward pass and optimizer are launched together."""

    def __init__(self, *arguments, **names):
        super().__init__(*arguments, **names)
        rates_on(self.optimizer, self.pool.device)
        self.take = StepGraph(self._take)

    def train(self, steps: int = 1) -> None:
        """Optimizer steps; the first call records one."""
        for draw in self.draws(steps):
            self.take(draw.labelled, draw.unlabelled, draw)

    def _take(self, rows, others, draw: Draw) -> None:
        self.loss(draw).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Plain(Side):
    """The plain way of reference.py: audio in, front end inside, contiguous float32, one forward pass with
    gradients, Adam. It starts from the weights of `like` where given."""

    def __init__(self, knobs, pool: Pool, like: torch.nn.Module | None = None):
        super().__init__(knobs, pool)
        torch.manual_seed(0)
        mn04 = knobs.network == "mn04"
        self.model = (
            reference.ReferenceMn04(len(CLASSES)) if mn04 else reference.Reference(len(CLASSES), knobs.width)
        ).train()
        if like is not None:
            self.model.take_weights(like)
        self.model = self.model.to(pool.device)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=knobs.learning_rate, amsgrad=True)

    def loss(self, draw: Draw, stripes: bool = False) -> Tensor:
        """Loss of one step; `stripes`: those of the draw, in place of torchlibrosa's own."""
        knobs, law = self.knobs, views(self.knobs)
        strong, weak = (reference.random_stripes(law[name]) for name in ("strong", "weak"))
        first = reference.Stripes(draw.labelled_masks) if stripes else strong
        x, y = self.pool.waves[draw.labelled], self.pool.labels[draw.labelled]
        if knobs.method == "supervised":
            return reference.supervised_loss(self.model, x, y, first, draw.weights)
        three = (first, weak, strong)
        if stripes:
            three = (first, reference.Stripes(draw.weak_masks), reference.Stripes(draw.strong_masks))
        u, weights = self.pool.waves[draw.unlabelled], (draw.weights, draw.unlabelled_weights)
        return reference.fixmatch_loss(self.model, x, y, u, three, *weights, knobs.tau, knobs.lambda_u)

    @usual_allocator()
    def train(self, steps: int = 1) -> None:
        """The same, in a process that leaves the C library's allocator as it is."""
        super().train(steps)

    @torch.inference_mode()
    def score(self, rows: Tensor) -> Tensor:
        """Logits of unaugmented clips."""
        return self.model.eval()(self.pool.waves[rows])


def difference(knobs: config.RunConfig) -> float:
    """Largest relative difference of the two losses on the same masks and dropout, of two steps (ours joint,
    too).

    Dropout draws in the order of memory, so here both are contiguous."""
    pool = Pool(knobs, exact=True)
    joint = knobs.model_copy(update={"forward": "joint"} if knobs.method == "fixmatch" else {})
    ours = Ours(joint, pool)
    ours.model.to(memory_format=torch.contiguous_format)
    plain = Plain(knobs, pool, ours.model)
    worst = 0.0
    for number, draw in enumerate(ours.draws(2)):
        with torch.no_grad():
            torch.manual_seed(number)  # dropout
            left = ours.loss(draw).item()
            torch.manual_seed(number)
            right = plain.loss(draw, stripes=True).item()
        worst = max(worst, abs(left - right) / abs(right))
    return worst
