"""Where a run reads and writes: the project, results, downloads, and pretrained weights, there or not."""

import os
from pathlib import Path

from .errors import UserError
from .knobs import RunConfig

PANN_FILE, MN04_FILE = "Cnn14_16k_mAP=0.438.pth", "mn04_as_mAP_432.pt"
MN04_SHA256 = "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"
ASSETS = Path(__file__).parent / "standins" / "assets"


def project_root() -> Path:
    """Folder that holds params/ and notebooks/: $ESC_ROOT, or the checkout this module lies in."""
    root = Path(os.environ.get("ESC_ROOT") or Path(__file__).resolve().parent.parent)
    if not (root / "params" / "base.yaml").is_file():
        raise UserError(f"no params/base.yaml in {root}: set ESC_ROOT to the folder of the notebook suite")
    return root


def working_root() -> Path:
    """Where results and downloads go: the project, or the current folder where that is read-only (Kaggle)."""
    root = project_root()
    return root if os.access(root, os.W_OK) else Path.cwd()


def data_folder() -> Path:
    """Where downloads go and are looked for."""
    return working_root() / "data"


def place(text: str) -> Path:
    """The file or folder that a knob or an option names, the same in a parameter file, on a command line and
    in a notebook: ~ is the home folder, a relative path starts at `working_root`, and every other character
    stands for itself."""
    if "://" in text:
        raise UserError(f"{text!r} is an address: give a folder of this machine")
    if not text.isprintable():  # neither a line break nor bytes that are no UTF-8
        raise UserError(f"{text!r} has characters that cannot be printed: give it a name without them")
    try:
        found = working_root() / Path(text).expanduser()
        found.exists()
        return found
    except RuntimeError:
        raise UserError(f"{text!r}: no home folder is known for this ~, give the whole path") from None
    except OSError as error:  # another user's folder, a name that is too long
        raise UserError(f"{text!r} cannot be used ({error.strerror}): name another place") from None


def outputs_folder(config: RunConfig) -> Path:
    """Folder of everything this profile writes: <outputs>/<profile>."""
    return place(config.outputs or "outputs") / config.profile


def cache_folder(config: RunConfig) -> Path:
    """Folder of what can be made again (synthesised audio, feature stores), shared by all profiles."""
    if config.cache_dir:
        return place(config.cache_dir)
    return place(config.outputs or "outputs") / "cache"


def mn04_file() -> Path:
    """Where mn04's weights lie: in data/, else in shared/mn04/ beside the checkout; else data/ is named."""
    own, beside = data_folder() / MN04_FILE, project_root().parent / "shared" / "mn04" / MN04_FILE
    return beside if beside.is_file() and not own.is_file() else own


def weights_file(config: RunConfig) -> Path | None:
    """File that a pretrained run loads, there or not; None for random start."""
    if not config.pretrained:
        return None
    if config.weights_path:
        return place(config.weights_path)
    if config.backbone == "mn04":
        return mn04_file()
    return data_folder() / PANN_FILE if config.backbone == "pann" else ASSETS / "backbone.safetensors"
