"""Where a run starts: network, pretrained weights, input statistics and last layer.

The last layer of pretrained rows starts at random, at zero, or as a logistic regression on the embeddings of
the labelled clips, which is also the frozen probe [ledger 29]."""

import numpy as np
import torch

from .evaluation import scored
from .features import Clips
from .index import CLASSES
from .knobs import RunConfig
from .model import Cnn14
from .paths import weights_file
from .sampling import START, stream_seed
from .standins.mn04 import Mn04, load_mn04
from .weights import load_pann

BACKBONES = {
    "pann": "PANN CNN14-16k (AudioSet)",
    "synthesised": "narrow CNN14 pretrained on synthesised audio",
    "mn04": "EfficientAT mn04 (AudioSet)",
}
STATISTICS_CLIPS = 1000  # labelled clips that set a network's input statistics, at most

# Floor under the spreads, as a share of their median: without it an embedding value that hardly varies gets a
# weight of 30, and the first steps of training are lost on it.
SPREAD_FLOOR = 0.3


def standardisation(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread (E,) of embeddings (n, E), the spread not below its floor."""
    mean, spread = embeddings.mean(0), embeddings.std(0)
    alive = spread[spread > 0]  # values that are zero for every clip say nothing on the others' scale
    return mean, np.maximum(spread, SPREAD_FLOOR * np.median(alive) if len(alive) else 1.0)


def start_from_logistic(model, embeddings: np.ndarray, labels: np.ndarray, classes: int, c: float) -> None:
    """Fit multinomial logistic regression (ridge, inverse penalty `c`) on standardised embeddings (n, E) and
    write it, with the standardisation folded in, into `model.fc_transfer`. Classes without labelled clips
    keep weight zero and a low bias."""
    from sklearn.linear_model import LogisticRegression

    embeddings = np.asarray(embeddings, dtype=np.float64)
    mean, spread = standardisation(embeddings)
    fitted = LogisticRegression(C=c, max_iter=2000).fit((embeddings - mean) / spread, labels)
    present = fitted.classes_
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(present) == 2:  # scikit-learn stores one row for two classes
        coefficients = np.vstack([-coefficients, coefficients]) / 2
        intercepts = np.r_[-intercepts, intercepts] / 2
    weight = np.zeros((classes, embeddings.shape[1]))
    bias = np.full(classes, intercepts.min() - 5.0)
    weight[present] = coefficients / spread
    bias[present] = intercepts - weight[present] @ mean
    with torch.no_grad():
        model.fc_transfer.weight.copy_(torch.from_numpy(weight))
        model.fc_transfer.bias.copy_(torch.from_numpy(bias))


def build_model(config: RunConfig, classes: int = len(CLASSES)) -> torch.nn.Module:
    """The network of a run, from random start or with its pretrained weights, on the CPU."""
    torch.manual_seed(stream_seed(config, START, 0))
    if config.network == "mn04":
        model = load_mn04(Mn04(classes), config.weights_path)
    else:
        model = Cnn14(classes, width=config.width, dropout=(config.dropout_block, config.dropout_head))
        if config.pretrained:
            load_pann(model, weights_file(config))
    if config.open_set == "openmatch":
        model.open_head = torch.nn.Linear(model.fc_transfer.in_features, 2 * classes, bias=False)
    return model


def prepare_start(model, config: RunConfig, clips: Clips, rows: np.ndarray, labels: torch.Tensor) -> None:
    """Input statistics and last layer of a network on its device, from labelled clips (rows of the store)."""
    if hasattr(model, "set_statistics"):
        model.set_statistics(clips[torch.from_numpy(statistics_rows(rows)).to(clips.place)])
    if config.pretrained and config.head_start == "zero":
        torch.nn.init.zeros_(model.fc_transfer.weight)
    if config.pretrained and (config.head_start == "logistic" or config.method == "probe"):
        model.eval()
        with torch.inference_mode():
            batches = (clips[batch] for batch in scored(clips, rows))
            parts = [model.embed(model.normalise(x)).float().cpu() for x in batches]
        embeddings, classes = torch.cat(parts).numpy(), model.fc_transfer.out_features
        start_from_logistic(model, embeddings, labels.cpu().numpy(), classes, config.logistic_c)
        model.train()


def statistics_rows(rows: np.ndarray) -> np.ndarray:
    """Evenly spaced ones of many rows: enough for statistics."""
    return rows[:: -(-len(rows) // STATISTICS_CLIPS)]
