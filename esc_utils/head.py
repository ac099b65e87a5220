"""A head start: the new layer begins as a logistic regression on the pretrained embeddings of the labelled clips."""

import numpy as np
import torch

from .augment import SpecAugment, apply

VIEWS = 2  # strong views of each clip that the regression sees beside the clip itself


@torch.inference_mode()
def embed_views(model, batches, augment: SpecAugment, generator: torch.Generator) -> np.ndarray:
    """Embeddings (n, 1 + VIEWS, E) float32 of each clip and of VIEWS augmented views of it, in eval mode.

    batches: log-mels (B, 1, frames, mels), n in all. The views matter: on YAMNet's embeddings of strongly masked clips a
    regression that was fitted to whole clips alone is right as often as a guess, and training starts there."""
    model.eval()
    found = []
    for x in batches:
        z = model.normalise(x)
        views = [z] + [apply(z, augment.draw(len(z), *z.shape[2:], generator)) for _ in range(VIEWS)]
        found.append(torch.stack([model.embed(view) for view in views], dim=1).float().cpu())
    model.train()
    return torch.cat(found).numpy()


def start_from_logistic(model, embeddings: np.ndarray, labels: np.ndarray, classes: int) -> None:
    """Fit multinomial logistic regression (scikit-learn's default penalty) on embeddings (n, views, E), every clip with the
    weight one, and write it into `model.fc_transfer`. labels (n,).

    Embeddings are centred and divided by one number, their spread over all dimensions: dividing each by its own would blow
    up those that hardly vary from clip to clip, but do under a mask. Classes without labelled clips keep weight zero
    and a low bias."""
    from sklearn.linear_model import LogisticRegression

    views = embeddings.shape[1]
    flat, targets = embeddings.reshape(-1, embeddings.shape[2]).astype(np.float64), np.repeat(labels, views)
    mean, scale = flat.mean(axis=0), max(np.sqrt(flat.var(axis=0).mean()), 1e-12)
    fitted = LogisticRegression(max_iter=1000)
    fitted.fit((flat - mean) / scale, targets, sample_weight=np.full(len(flat), 1 / views))
    present = fitted.classes_
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(present) == 2:  # scikit-learn stores one row for two classes
        coefficients, intercepts = np.vstack([-coefficients, coefficients]) / 2, np.r_[-intercepts, intercepts] / 2
    weight = np.zeros((classes, flat.shape[1]))
    bias = np.full(classes, intercepts.min() - 5.0)
    weight[present] = coefficients / scale
    bias[present] = intercepts - weight[present] @ mean
    if hasattr(model, "standardise_embeddings"):  # it does by itself what was folded in
        model.standardise_embeddings(torch.from_numpy(mean), scale)
        weight, bias = weight * scale, bias + weight @ mean
    with torch.no_grad():
        model.fc_transfer.weight.copy_(torch.from_numpy(weight))
        model.fc_transfer.bias.copy_(torch.from_numpy(bias))
