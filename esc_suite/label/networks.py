"""A finished network as one file: weights as safetensors, and in its header all that is needed to use them
again."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import ValidationError

from esc_utils import features
from esc_utils.config import RunConfig
from esc_utils.errors import UserError
from esc_utils.fast import lay_out
from esc_utils.files import write_atomic
from esc_utils.model import Cnn14
from esc_utils.paths import place
from esc_utils.standins.mn04 import Mn04
from esc_utils.weights import read_safetensors

FILE, SUMMARY = "weights.safetensors", "label.json"
WHERE = (
    "give a folder that `python -m esc_suite label DATA` wrote, or a run in it; or run label on the "
    "table again"
)


def save(
    path: Path, model: torch.nn.Module, config: RunConfig, classes: tuple[str, ...], identity: str
) -> None:
    """Write a network with its config, its class names and the identity of its run, whole or not at all."""
    from safetensors.torch import save as packed

    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    header = {"config": config.model_dump_json(), "classes": json.dumps(classes), "identity": identity}
    write_atomic(path, packed(tensors, header))


def identity_of(path: Path) -> str:
    """Identity of the run that a network is of; "" where there is none, or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("identity", "")
    except (SafetensorError, OSError):
        return ""


class Networks(NamedTuple):
    """Networks of one method and their shared config and class names; their mean score is what they say
    together."""

    models: list[torch.nn.Module]
    config: RunConfig
    classes: tuple[str, ...]
    files: list[Path]

    @torch.inference_mode()
    def scores(self, audio: np.ndarray) -> np.ndarray:
        """Waveforms (B, samples) at the rate of `front_end` -> softmax scores (B, classes), as in
        training."""
        levels = features.front_end(self.config.network)(torch.from_numpy(audio))
        x = levels.half().float()  # the feature store keeps float16
        return torch.stack([model(x).softmax(dim=1) for model in self.models]).mean(dim=0).numpy()


def read_networks(where: Path | str) -> Networks:
    """The networks of a folder that `label` wrote, or of one run in it, or of one weights.safetensors."""
    at = place(str(where))
    if at.is_dir() and (at / SUMMARY).is_file():
        try:
            files = [
                at / name / FILE for name in json.loads((at / SUMMARY).read_text(encoding="utf-8"))["runs"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{at / SUMMARY} is damaged ({error}): run label on the table again") from None
    else:
        files = [at / FILE if at.is_dir() else at]
    if lost := [path for path in files or [at / FILE] if not path.is_file()]:
        raise UserError(f"no {FILE} in {lost[0].parent if lost[0].name == FILE else lost[0]}: {WHERE}")
    found = [_load(path) for path in files]
    _, config, classes = found[0]
    for path, (_, other, names) in zip(files, found, strict=True):
        if (names, other.network, other.clip_seconds) != (classes, config.network, config.clip_seconds):
            raise UserError(
                f"{path} and {files[0]} differ in their classes or clip length: run label on the table again"
            )
    return Networks([model for model, _, _ in found], config, classes, files)


def _load(path: Path) -> tuple[torch.nn.Module, RunConfig, tuple[str, ...]]:
    from safetensors import safe_open

    tensors = read_safetensors(path)
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        config, classes = RunConfig(**json.loads(header["config"])), tuple(json.loads(header["classes"]))
        model = Mn04(len(classes)) if config.network == "mn04" else Cnn14(len(classes), width=config.width)
        model.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is not a network that `label` wrote ({reason}): run label on the table again"
        ) from None
    return lay_out(model, torch.device("cpu"), training=False).eval(), config, classes
