"""Where pretrained weights lie, there or not."""

from pathlib import Path

from .config import data_folder, place, project_root

PANN_FILE, MN04_FILE = "Cnn14_16k_mAP=0.438.pth", "mn04_as_mAP_432.pt"
MN04_SHA256 = "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"
ASSETS = Path(__file__).parent / "standins" / "assets"


def mn04_file() -> Path:
    """Where mn04's weights lie: in data/, else in shared/mn04/ beside the checkout; else data/ is named."""
    own, beside = data_folder() / MN04_FILE, project_root().parent / "shared" / "mn04" / MN04_FILE
    return beside if beside.is_file() and not own.is_file() else own


def weights_file(config) -> Path | None:
    """File that a pretrained run loads, there or not; None for random start."""
    if not config.pretrained:
        return None
    if config.weights_path:
        return place(config.weights_path)
    if config.backbone == "mn04":
        return mn04_file()
    return data_folder() / PANN_FILE if config.backbone == "pann" else ASSETS / "backbone.safetensors"
