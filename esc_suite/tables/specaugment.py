"""Table 1: the SpecAugment settings that the runs used beside the paper's, and what share of the cells they
mask."""

from esc_suite.results import comparison, masking
from esc_utils import config

MASKS = 2048  # drawn for the measured share of masked cells


def table1_rows(table: dict, results: comparison.Results, profile: str) -> list[dict]:
    """Table 1 from the parameters that the runs used (or, without runs, would use), one row a setting found.

    Shares of masked cells are in percent: expected from the law of ledger 23 for the printed setting on 501 x
    64 and for ours, and measured on masks of 64 bands drawn by the very code of the runs (mn04's 128 bands
    have twice the widths, and so the same shares)."""
    axes = [f"{axis}_{knob}" for axis in ("freq", "time") for knob in ("width", "stripes")]
    all_runs = [run for folds in results.found.values() for seeds in folds.values() for run in seeds.values()]
    configs = [run.metrics["config"] for run in all_runs]
    plan = config.from_files(config.layers_of(profile, "")).model_dump()
    rows = []
    for row in table["rows"]:
        settings: dict[tuple, int] = {}
        for knobs in configs or [plan]:
            key = (*(knobs[f"{row['id']}_{axis}"] for axis in axes), round(knobs["clip_seconds"] * 100) + 1)
            settings[key] = settings.get(key, 0) + 1
        for (*values, frames), count in settings.items():
            ours = dict(zip(axes, values, strict=True))
            rows.append(
                {
                    "row": row["label"],
                    "experiment": "",
                    "paper_masked_expected": 100 * masking.expected_share(**_pick(row, axes)),
                }
                | {f"paper_{axis}": row[axis] for axis in axes}
                | ours
                | {
                    "frames": frames,
                    "mels": 64,
                    "masked_expected": 100 * masking.expected_share(**ours, frames=frames),
                    "masked_measured": 100 * _measured(ours, frames),
                    "measured_on": f"{MASKS} masks",
                    "parameters": f"{count} finished runs"
                    if configs
                    else f"params/base.yaml, params/profiles/{profile}.yaml",
                    "data": comparison.data_label(all_runs) if configs else "",
                    "note": _scale(ours == _pick(row, axes), frames),
                }
            )
    return rows


def _scale(as_printed: bool, frames: int) -> str:
    if as_printed:
        return "" if frames == 501 else f"printed widths on {frames} frames, not 501"
    return f"other widths than printed, on {frames} of 501 frames"


def _measured(settings: dict, frames: int) -> float:
    """Mean share (0 to 1) of cells masked by MASKS draws of the augmentation the runs use, from a fixed
    seed."""
    import torch

    from esc_utils.augment import SpecAugment

    generator = torch.Generator().manual_seed(0)
    return float(masking.drawn_shares(SpecAugment(**settings), MASKS, frames, generator=generator).mean())


def _pick(row: dict, axes: list[str]) -> dict:
    return {axis: row[axis] for axis in axes}
