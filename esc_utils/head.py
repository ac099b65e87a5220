"""Logistic regression on the pretrained embeddings of the labelled clips: the frozen probe, and a head start."""

import numpy as np
import torch

# Floor under the spreads, as a share of their median: without it an embedding value that hardly varies gets a weight of 30,
# and the first steps of training are lost on it.
SPREAD_FLOOR = 0.3


def standardisation(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread (E,) of embeddings (n, E), the spread not below its floor."""
    mean, spread = embeddings.mean(0), embeddings.std(0)
    alive = spread[spread > 0]  # values that are zero for every clip say nothing on the others' scale
    return mean, np.maximum(spread, SPREAD_FLOOR * np.median(alive) if len(alive) else 1.0)


def start_from_logistic(model, embeddings: np.ndarray, labels: np.ndarray, classes: int, c: float) -> None:
    """Fit multinomial logistic regression (ridge, inverse penalty `c`) on standardised embeddings (n, E) and write it,
    with the standardisation folded in, into `model.fc_transfer`. Classes without labelled clips keep weight zero and a low
    bias."""
    from sklearn.linear_model import LogisticRegression

    embeddings = np.asarray(embeddings, dtype=np.float64)
    mean, spread = standardisation(embeddings)
    fitted = LogisticRegression(C=c, max_iter=2000).fit((embeddings - mean) / spread, labels)
    present = fitted.classes_
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(present) == 2:  # scikit-learn stores one row for two classes
        coefficients, intercepts = np.vstack([-coefficients, coefficients]) / 2, np.r_[-intercepts, intercepts] / 2
    weight = np.zeros((classes, embeddings.shape[1]))
    bias = np.full(classes, intercepts.min() - 5.0)
    weight[present] = coefficients / spread
    bias[present] = intercepts - weight[present] @ mean
    with torch.no_grad():
        model.fc_transfer.weight.copy_(torch.from_numpy(weight))
        model.fc_transfer.bias.copy_(torch.from_numpy(bias))
