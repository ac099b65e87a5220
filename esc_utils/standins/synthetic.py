"""The embedded default: a small synthesised dataset in UrbanSound8K's layout.

Numbers from it are about synthesised audio and nothing else; DATASET.json at its root says so to whoever
reads it.
"""

import csv
import io
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..knobs import RunConfig
from ..paths import cache_folder
from ..standins import sounds, urban

GENERATOR = "esc_utils.standins.synthetic 5"  # raise the number with every change that changes the audio
HEADER = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
RARE = {"car_horn", "gun_shot"}  # fewer clips, as in UrbanSound8K
# Share of clips shorter than the window; others 0.08
SHORT = {"car_horn": 0.5, "dog_bark": 0.5, "gun_shot": 0.8}

# A class has this share of its regions' width, a device this colour (dB). Classes lie apart, so that clips
# without labels show where one ends and the next begins: what FixMatch lives on; but not so far that few
# labels are enough without them. Chosen on draws of the dataset that no table reports:
# outputs/evidence/pairs/positive_control.csv.
WIDTH, COLOUR = 0.6, 2.5

# First words of the seed sequences: streams that never meet.
_PLAN, _RECORDING, _SLICE = range(1, 4)


def dataset_folder(config: RunConfig) -> Path:
    """Folder of a run's synthesised dataset, written on first use. UserError where it cannot be written."""
    clips, seconds, seed = config.synthetic_clips, config.clip_seconds, config.synthetic_seed
    folder = cache_folder(config) / f"synthetic-{clips}x{seconds:g}s-{seed}"
    try:
        return write_dataset(folder, clips_per_class=clips, clip_seconds=seconds, seed=seed)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}): set outputs or cache_dir elsewhere, or free "
            "some space"
        ) from None


def write_dataset(
    root: str | Path,
    clips_per_class: int = 6,
    folds: int = 10,
    clip_seconds: float = 1.28,
    sample_rate: int = 16000,
    seed: int = 0,
) -> Path:
    """Write the synthesised dataset to the folder `root` and return it; at once if it is there already.

    `clips_per_class` is per fold and a mean: the rare classes have two thirds of it. They come from
    recordings of two to four slices, all in one fold. Files:
    audio/fold<k>/<fsID>-<classID>-<occurrence>-<slice>.wav (16-bit PCM, mono), metadata/UrbanSound8K.csv,
    DATASET.json. The audio depends on the arguments alone: each recording and slice has its own seed
    sequence. It is written beside `root` and renamed, under a lock, so no reader sees half of it.

    Raises UserError where `root` holds something else.
    """
    from filelock import FileLock

    root = Path(root)
    settings = {
        "synthesised": True,
        "generator": GENERATOR,
        "clips_per_class": clips_per_class,
        "folds": folds,
        "clip_seconds": clip_seconds,
        "sample_rate": sample_rate,
        "seed": seed,
    }
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f".{root.name}.lock")):
        if _is_complete(root, settings):
            return root
        if root.exists() and any(root.iterdir()) and not _is_ours(root):
            raise UserError(
                f"{root} holds files that are no synthesised dataset: give another folder, or empty it"
            )
        fresh = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
        try:
            _write(fresh, settings)
            fresh.chmod(0o755)
            if root.exists():
                shutil.rmtree(root)
            fresh.replace(root)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return root


def _description(root: Path) -> dict:
    try:
        return json.loads((root / "DATASET.json").read_text())
    except (OSError, ValueError):
        return {}


def _is_complete(root: Path, settings: dict) -> bool:
    found = _description(root)
    return (
        bool(found)
        and {**found, **settings} == found
        and (root / "metadata/UrbanSound8K.csv").is_file()
        and sum(1 for _ in root.glob("audio/fold*/*.wav")) == found.get("clips")
    )


def _is_ours(root: Path) -> bool:
    return str(_description(root).get("generator", "")).startswith("esc_utils.standins.synthetic")


def _write(root: Path, settings: dict) -> None:
    import soundfile

    rows = []
    for fold in range(1, settings["folds"] + 1):
        (root / f"audio/fold{fold}").mkdir(parents=True)
        for class_id, name in enumerate(urban.URBAN):
            for row, wave in _clips(fold, class_id, name, settings):
                path = root / f"audio/fold{fold}" / row["slice_file_name"]
                encoded = io.BytesIO()  # libsndfile itself says "System error" on a full disk
                soundfile.write(encoded, wave, settings["sample_rate"], "PCM_16", format="WAV")
                path.write_bytes(encoded.getvalue())
                rows.append(row)
    (root / "metadata").mkdir()
    with (root / "metadata/UrbanSound8K.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["slice_file_name"]))
    (root / "DATASET.json").write_text(json.dumps(settings | {"clips": len(rows)}, indent=2) + "\n")


def _clips(fold: int, class_id: int, name: str, settings: dict):
    """The clips of one class in one fold: pairs of CSV row and waveform."""
    plan = np.random.default_rng([_PLAN, settings["seed"], fold, class_id])
    left = _clip_count(fold, name, settings["clips_per_class"])
    number = 0
    while left:
        slices = int(min(left, plan.integers(2, 5)))
        left -= slices
        fsid = 100_000 + 1000 * fold + 100 * class_id + number
        yield from _slices(fsid, slices, fold, class_id, name, settings)
        number += 1


def _clip_count(fold: int, name: str, mean: int) -> int:
    """Clips of a class in a fold: ten times `mean` in all; what the rare classes lack goes round among the
    others."""
    rare = max(1, round(2 / 3 * mean))
    if name in RARE:
        return rare
    common = [other for other in urban.URBAN if other not in RARE]
    extra = len(RARE) * (mean - rare)
    turn = (common.index(name) + 3 * fold) % len(common)
    return mean + extra // len(common) + (turn < extra % len(common))


def _slices(fsid: int, slices: int, fold: int, class_id: int, name: str, settings: dict):
    key = [settings["seed"], fsid]
    rng = np.random.default_rng([_RECORDING, *key])
    recording = sounds.draw(sounds.narrowed(urban.URBAN[name], WIDTH), rng, COLOUR)
    salience = 1 if rng.random() < 0.65 else 2  # foreground or background
    snr = rng.uniform(24, 44) if salience == 1 else rng.uniform(16, 28)
    occurrence, start = int(rng.integers(0, 3)), rng.uniform(0, 20)
    for slice_id in range(slices):
        rng = np.random.default_rng([_SLICE, *key, slice_id])
        seconds = settings["clip_seconds"]
        if rng.random() < SHORT.get(name, 0.08):
            seconds *= rng.uniform(0.25, 0.95)
        samples = round(seconds * settings["sample_rate"])
        wave = sounds.render(recording, samples, settings["sample_rate"], rng, snr + rng.normal(0, 2))
        seconds = samples / settings["sample_rate"]
        row = {
            "slice_file_name": f"{fsid}-{class_id}-{occurrence}-{slice_id}.wav",
            "fsID": fsid,
            "start": f"{start:.6f}",
            "end": f"{start + seconds:.6f}",
            "salience": salience,
            "fold": fold,
            "classID": class_id,
            "class": name,
        }
        yield row, wave
        start += settings["clip_seconds"]
