"""One optimizer step as a CUDA graph: captured once, then launched whole, not one kernel at a time."""

import torch
from torch import Tensor

from .knobs import RunConfig
from .sampling import Draw

WARM = 3  # steps before the one that is captured: algorithms are chosen and optimizer states made there


def usable(device: torch.device, resident: bool) -> bool:
    """Whether a step can be captured: on CUDA, with the log-mels on the device."""
    return device.type == "cuda" and resident


def optimizer_too(config: RunConfig, dtype: torch.dtype) -> bool:
    """Whether the optimizer's step can be part of the graph: not where it comes after some batches only,
    decides on the CPU (a loss scale), or counts there (Ranger)."""
    return config.accumulate == 1 and dtype != torch.float16 and config.optimizer != "ranger"


class StepGraph:
    """Stands for `take`, a function of (rows, rows, Draw) to a tuple of tensors whose shapes never change.

    What it returns is overwritten by the next call. Random numbers go on as without it: the generator's seed
    and place are read when the graph is launched."""

    def __init__(self, take):
        self.take, self.calls, self.graph = take, 0, None
        self.stream = torch.cuda.Stream()

    def __call__(self, rows: Tensor, others: Tensor | None, draw: Draw):
        self.calls += 1
        if self.calls <= WARM:
            return self._warm(rows, others, draw)
        if self.graph is None:
            self._capture(rows, others, draw)
        for kept, new in zip(self.inputs, tensors(rows, others, draw), strict=True):
            kept.copy_(new)
        self.graph.replay()
        return self.outputs

    def _warm(self, *inputs):
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outputs = self.take(*inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        return outputs

    def _capture(self, *inputs):
        self.inputs, self.graph = tensors(*inputs), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = self.take(*inputs)


def tensors(rows: Tensor, others: Tensor | None, draw: Draw) -> list[Tensor]:
    """Everything that changes from step to step, in a fixed order."""
    found = [rows] if others is None else [rows, others]
    for value in vars(draw).values():
        if isinstance(value, Tensor):
            found.append(value)
        elif value is not None:
            found += [value.time, value.freq]
    return found
