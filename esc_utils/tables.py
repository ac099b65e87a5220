"""Tables 1 to 5, the paper's numbers beside ours, from run records: `python -m esc_utils.tables --profile quick`."""

import argparse
import sys
from pathlib import Path

import numpy as np

from . import comparison, config, intervals
from .errors import UserError

NAMES = ("table1", "table2", "table3", "table4", "table5")
MASKS = 2048  # drawn for the measured share of masked cells
SYNTHESISED = "synthesised audio"
REAL = "UrbanSound8K"
METRICS = ("accuracy", "auc")
# Knobs that a profile may change although they are method: what its network or budget cannot bear. Tables print them.
METHOD_KNOBS = ("mu", "head_start", "backbone_norm", "backbone_rate", "dropout_block", "dropout_head", "learning_rate")


def read_spec(path: Path | None = None) -> dict:
    """params/tables.yaml, checked: every baseline and every row that a claim names exists. UserError otherwise."""
    import yaml

    path = path or config.project_root() / "params" / "tables.yaml"
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = {f"{name}.{row['id']}": row for name, table in spec["tables"].items() for row in table["rows"]}
        for name, row in rows.items():
            if row.get("baseline") and f"{name.split('.')[0]}.{row['baseline']}" not in rows:
                raise UserError(f"{path}: row {name} has no baseline '{row['baseline']}' in its table")
        for claim in spec["claims"]:
            for side in (rule[key] for rule in claim["rules"] for key in ("left", "right")):
                if side not in rows:
                    raise UserError(f"{path}: claim {claim['id']} names row '{side}', which is in no table")
        for number in {n for part in [*rows.values(), *spec["tables"].values()] for n in part.get("footnotes", [])}:
            if number not in spec["ledger_notes"]:
                raise UserError(f"{path}: footnote {number} has no text in ledger_notes")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be used ({' '.join(str(error).split())}): restore it from the repository") from None
    return spec


def build(spec: dict, results: comparison.Results, name: str, profile: str) -> list[dict]:
    """Rows of one table as dicts, in the printed order, rows without runs included. Percent and points throughout."""
    table = spec["tables"][name]
    if name == "table1":
        return specaugment_rows(table, results, profile)
    rows = [_row(table, row, results) for row in table["rows"]]
    _compare(table, rows, results)
    return rows


def _row(table: dict, row: dict, results: comparison.Results) -> dict:
    experiment, wanted = row.get("experiment"), table["folds"]
    answer = {
        "row": row["label"],
        "paper_row": row["label"],
        "group": row.get("group", ""),
        "experiment": experiment or "",
        "paper_accuracy": row.get("paper_accuracy"),
        "paper_auc": row.get("paper_auc"),
    }
    answer |= dict.fromkeys(f"{m}{end}" for m in METRICS for end in ("", "_low", "_high"))
    notes = []
    if experiment is None:
        return answer | {"folds": "", "data": "", "note": "printed by another paper; nothing to run"} | _footnotes(row)
    folds = results.folds(experiment, wanted)
    answer["folds"] = f"{len(folds)} of {len(wanted)}"
    answer |= {"fold_list": " ".join(map(str, folds))} | _footnotes(row)
    if not folds:
        return answer | {"data": "", "note": "no run yet"}
    if len(folds) < len(wanted):
        notes.append("folds missing: " + " ".join(str(f) for f in wanted if f not in folds))
    found = results.runs(experiment, folds)
    first = found[0]
    answer["row"] = row_name(row["label"], first)
    answer |= _levels(results, experiment, folds)
    answer |= _seeds(results, experiment, folds)
    for metric in METRICS:
        if answer[f"paper_{metric}"] is not None and answer[metric] is not None:
            answer[f"{metric}_minus_paper"] = answer[metric] - answer[f"paper_{metric}"]
    answer |= {
        "steps": _one_or_range(run.metrics["steps"] for run in found),
        "epochs": _one_or_range(run.metrics["epochs"] for run in found),
        "checkpoint": "last epoch",
        "best_epoch_accuracy": _mean(run.metrics["validation"]["best"]["accuracy"] for run in found),
        "median5_accuracy": _mean(run.metrics["validation"]["median_last5"]["accuracy"] for run in found),
        "transductive_accuracy": _mean(
            r.metrics["transductive"]["last"]["accuracy"] for r in found if r.metrics["transductive"]
        ),
        "validation_folds": _one_or_range(f for run in found for f in run.metrics["validation"]["folds"]),
        "network": "; ".join(dict.fromkeys(map(comparison.network_name, found))),
        "data": data_label(found),
    }
    if any(run.metrics["provenance"].get("dataset_missing") for run in found):
        notes.append("part of the dataset was missing")
    if comparison.stands_in(first):
        notes.append(f"{comparison.network_name(first)} stands in place of PANN")
    if (knobs := config.RunConfig.model_construct(**first.metrics["config"])).bands != config.TABLE1_BANDS:
        widths = " and ".join(str(knobs.stripes(view)["freq_width"]) for view in ("weak", "strong"))
        notes.append(f"SpecAugment's frequency widths are {widths} of {knobs.bands} bands: Table 1's of 64, to scale")
    made, own = first.metrics["config"], config.exceptions(first.metrics["profile"], experiment)
    notes += [f"{key} {value} in this row alone" for key, value in own.items() if made.get(key) == value]
    return answer | {"note": "; ".join(notes)}


def changed_method(profile: str) -> str:
    """What a profile changes beyond scale against the paper's values, e.g. "mu 3 (paper: 7)"; "" for nothing."""
    paper, ours = (
        config.load(layers).model_dump() for layers in (config.layers_of("paper", ""), config.layers_of(profile, ""))
    )
    changed = [key for key in METHOD_KNOBS if ours[key] != paper[key]]
    return ", ".join(f"{key} {ours[key]} (paper: {paper[key]})" for key in changed)


def row_name(label: str, run) -> str:
    """The printed label, with another network's name where PANN's weights or CNN14's full width were not used."""
    if comparison.stands_in(run):
        # The note has the name in full.
        name = comparison.network_name(run).removesuffix(" pretrained on synthesised audio")
        return (
            f"{label.replace('PANN', name)} [in place of PANN]" if "PANN" in label else f"{label} [{name} in place of PANN]"
        )
    width = run.metrics["config"].get("width", 64)
    return f"{label} [width {width}, not 64]" if width != 64 else label


def data_label(found) -> str:
    """What audio the numbers are about."""
    kinds = dict.fromkeys(SYNTHESISED if run.metrics["synthesised"] else REAL for run in found)
    return "; ".join(kinds)


def _footnotes(row: dict) -> dict:
    return {"footnotes": " ".join(map(str, row.get("footnotes", [])))}


def _levels(results: comparison.Results, experiment: str, folds: list[int]) -> dict:
    """Scores with intervals: over recordings on one fold; over folds on several, and over their recordings beside it."""
    sums = [results.fold_sums(experiment, fold) for fold in folds]
    answer: dict = {"clips": int(sum(s.size.sum() for s in sums)), "recordings": sum(len(s.size) for s in sums)}
    for metric in METRICS:
        over_recordings = intervals.interval(sums, metric)
        level = over_recordings["estimate"]
        answer[metric] = level if np.isfinite(level) else None
        answer |= {f"{metric}_low": over_recordings["low"], f"{metric}_high": over_recordings["high"]}
        if len(folds) > 1:
            values = comparison.means(results, experiment, folds, metric)
            low, high = intervals.fold_interval(values)
            answer |= {
                f"{metric}_recordings_low": over_recordings["low"],
                f"{metric}_recordings_high": over_recordings["high"],
                f"{metric}_low": max(0.0, low),
                f"{metric}_high": min(100.0, high),
                f"{metric}_fold_deviation": float(np.std(values, ddof=1)),
            }
    over = f"t over {len(folds)} folds" if len(folds) > 1 else f"bootstrap over {answer['recordings']} recordings"
    return answer | {"interval": f"95%, {over}"}


def _seeds(results: comparison.Results, experiment: str, folds: list[int]) -> dict:
    """Spread over training seeds, apart from sampling error: deviation of the seeds' scores around their fold's mean."""
    seeds_of = {fold: list(results.found[experiment][fold]) for fold in folds}
    answer: dict = {"seeds": _one_or_range(map(len, seeds_of.values()))}
    for metric in METRICS:
        values = [
            [float(intervals.scores(results.fold_sums(experiment, fold, seed), metric)[0]) for seed in seeds]
            for fold, seeds in seeds_of.items()
            if len(seeds) > 1
        ]
        freedom = sum(len(v) - 1 for v in values)
        squares = sum(float(np.var(v)) * len(v) for v in values)
        answer[f"{metric}_seed_deviation"] = float(np.sqrt(squares / freedom)) if freedom else None
    return answer


def _compare(table: dict, rows: list[dict], results: comparison.Results) -> None:
    """Add to each row with a baseline: difference with interval, p (as it is, and by Holm over the table), mark."""
    by_id = {row["id"]: (row, answer["row"]) for row, answer in zip(table["rows"], rows, strict=True)}
    done = []
    for row, answer in zip(table["rows"], rows, strict=True):
        if not row.get("baseline"):
            continue
        base, answer["baseline"] = by_id[row["baseline"]]
        found = {m: comparison.compare(results, row["experiment"], base["experiment"], table["folds"], m) for m in METRICS}
        for metric, result in found.items():
            keys = {"difference": "difference", "low": "low", "high": "high"}
            answer |= {f"{metric}_difference{'' if k == 'difference' else '_' + k}": result.get(v) for k, v in keys.items()}
        result = found["accuracy"]
        printed = row["paper_accuracy"] - base["paper_accuracy"]
        answer |= {
            "paper_accuracy_difference": round(printed, 2),
            "p": result.get("p"),
            "effect_size": result.get("effect_size"),
            "wilcoxon_p": result.get("wilcoxon_p"),
            "test": result.get("test", ""),
            "seed_difference_low": result["seed_low"],
            "seed_difference_high": result["seed_high"],
            "what_it_would_take": comparison.needed(result, printed),
        }
        done.append((answer, result, "greater" if printed > 0 else "less"))
    adjusted = intervals.holm([result.get("p") for _, result, _ in done])
    for (answer, result, direction), p in zip(done, adjusted, strict=True):
        answer["p_holm"] = p
        answer["mark"] = comparison.verdict(result, direction, p=p)


def specaugment_rows(table: dict, results: comparison.Results, profile: str) -> list[dict]:
    """Table 1 from the parameters that the runs used (or, without runs, would use), one row a setting found.

    Shares of masked cells are in percent: expected from the law of ledger 23 for the printed setting on 501 x 64 and for
    ours, and measured on masks drawn by the very code of the runs."""
    from .figures_views import expected_share

    axes = [f"{axis}_{knob}" for axis in ("freq", "time") for knob in ("width", "stripes")]
    all_runs = [run for folds in results.found.values() for seeds in folds.values() for run in seeds.values()]
    configs = [run.metrics["config"] for run in all_runs]
    plan = config.load(config.layers_of(profile, "")).model_dump()
    rows = []
    for row in table["rows"]:
        settings: dict[tuple, int] = {}
        for knobs in configs or [plan]:
            key = (*(knobs[f"{row['id']}_{axis}"] for axis in axes), round(knobs["clip_seconds"] * 100) + 1)
            settings[key] = settings.get(key, 0) + 1
        for (*values, frames), count in settings.items():
            ours = dict(zip(axes, values, strict=True))
            rows.append(
                {"row": row["label"], "experiment": "", "paper_masked_expected": 100 * expected_share(**_pick(row, axes))}
                | {f"paper_{axis}": row[axis] for axis in axes}
                | ours
                | {
                    "frames": frames,
                    "mels": 64,
                    "masked_expected": 100 * expected_share(**ours, frames=frames),
                    "masked_measured": 100 * measured_share(ours, frames),
                    "measured_on": f"{MASKS} masks",
                    "parameters": f"{count} finished runs"
                    if configs
                    else f"params/base.yaml, params/profiles/{profile}.yaml",
                    "data": data_label(all_runs) if configs else "",
                    "note": _scale(ours == _pick(row, axes), frames),
                }
            )
    return rows


def _scale(as_printed: bool, frames: int) -> str:
    if as_printed:
        return "" if frames == 501 else f"printed widths on {frames} frames, not 501"
    return f"other widths than printed, on {frames} of 501 frames"


def measured_share(settings: dict, frames: int, mels: int = 64) -> float:
    """Mean share (0 to 1) of cells masked by MASKS draws of the augmentation the runs use, from a fixed seed."""
    import torch

    from .augment import SpecAugment

    augment, generator, shares = SpecAugment(**settings), torch.Generator().manual_seed(0), []
    blank = torch.ones(128, 1, frames, mels, dtype=torch.uint8)
    for _ in range(MASKS // len(blank)):
        left = augment(blank, augment.draw(len(blank), frames, mels, generator))
        shares.append(1 - int(torch.count_nonzero(left)) / left.numel())
    return float(np.mean(shares))


def _pick(row: dict, axes: list[str]) -> dict:
    return {axis: row[axis] for axis in axes}


def _mean(values) -> float | None:
    values = [v for v in values if v is not None]
    return float(np.mean(values)) if values else None


def _one_or_range(values) -> str:
    values = sorted(set(values))
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_utils.tables", description=__doc__)
    add_places(parser)
    parser.add_argument("--tables", nargs="+", metavar="N", help="which tables (default: all, and claims.json)")
    args = parser.parse_args(argv)
    chosen = [f"table{number.removeprefix('table')}" for number in args.tables or "12345"]
    return write_and_print(args, chosen, with_claims=args.tables is None)


def add_places(parser: argparse.ArgumentParser) -> None:
    """The two options that say where runs are read and tables are written."""
    parser.add_argument("--outputs", default="", metavar="DIR", help="where the runs are (default: outputs/)")
    parser.add_argument("--profile", default="quick", help="quick (default), lite or paper")


def write_and_print(args: argparse.Namespace, names, with_claims: bool) -> int:
    """Write tables and print their paths; exit status 1 and one line for what a user can mend."""
    from .tables_render import write

    try:
        unknown = [name for name in names if name not in NAMES]
        if unknown:
            raise UserError(f"no such table: {unknown[0].removeprefix('table')}; choose from 1 2 3 4 5")
        for path in write(Path(args.outputs or config.project_root() / "outputs"), args.profile, names, with_claims):
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
