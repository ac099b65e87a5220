"""Which statistics batch norm uses in the pseudo-label pass and at scoring; a step uses its batch's."""

from collections.abc import Iterable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .knobs import RunConfig


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """All batch norms of a network."""
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


def pseudo_label_mode(model: nn.Module, config: RunConfig) -> None:
    """Mode of the pass that makes pseudo-labels [ledger 11]: as in training, eval, or batch statistics
    without dropout."""
    model.train(config.pseudo_mode == "train")
    if config.pseudo_mode == "no_dropout":
        for layer in norms(model):
            layer.train()


@contextmanager
def clean_statistics(model: nn.Module, batches: Iterable[Tensor]):
    """Inside, batch norm scores with the mean statistics of these unaugmented batches of log-mels [ledger
    27]; after it, with those it had before. Labels play no part. The model is left in eval mode."""
    layers = norms(model)
    before = [{name: value.clone() for name, value in layer.named_buffers()} for layer in layers]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
            layer.train()
        with torch.no_grad():
            for batch in batches:
                model(batch)
        model.eval()
        yield
    finally:
        for layer, values, momentum in zip(layers, before, momenta, strict=True):
            layer.momentum = momentum
            for name, value in values.items():
                getattr(layer, name).copy_(value)
