"""params/tables.yaml: the paper's tables with the numbers it prints, its claims and the rules that decide
them."""

from pathlib import Path

import yaml

from esc_suite.results import rules, validity
from esc_utils import paths
from esc_utils.errors import UserError


def read_spec(path: Path | None = None, beyond: bool = False) -> dict:
    """The file as a dict, checked: every baseline, control and row that a claim names exists; `beyond`: with
    the tables of params/beyond.yaml, which are ours, and their notes. UserError otherwise."""
    path = path or paths.project_root() / "params" / "tables.yaml"
    try:
        spec = _load(path)
        if beyond:
            more = _load(path := path.with_name("beyond.yaml"))
            spec["tables"] |= more["tables"]
            spec["ledger_notes"] |= more["notes"]
        rows = {f"{name}.{row['id']}": row for name, table in spec["tables"].items() for row in table["rows"]}
        for name, row in rows.items():
            for kind in ("baseline", "control"):
                if row.get(kind) and f"{name.split('.')[0]}.{row[kind]}" not in rows:
                    raise UserError(f"{path}: row {name} has no {kind} '{row[kind]}' in its table")
        for claim in spec["claims"]:
            for side in (rule[key] for rule in claim["rules"] for key in ("left", "right")):
                if side not in rows:
                    raise UserError(f"{path}: claim {claim['id']} names row '{side}', which is in no table")
            if len({rule[key].split(".")[0] for rule in claim["rules"] for key in ("left", "right")}) != 1:
                raise UserError(f"{path}: claim {claim['id']} compares rows of several tables")
            for name in (name for rule in claim["rules"] for name in rules.equal_budget(rule)):
                if name not in validity.BUDGET:
                    raise UserError(
                        f"{path}: claim {claim['id']} wants '{name}' equal, not one of "
                        f"{', '.join(validity.BUDGET)}"
                    )
        for number in {
            n for part in [*rows.values(), *spec["tables"].values()] for n in part.get("footnotes", [])
        }:
            if number not in spec["ledger_notes"]:
                raise UserError(f"{path}: footnote {number} has no text in ledger_notes")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be used ({' '.join(str(error).split())}): restore it from the repository"
        ) from None
    return spec


def _load(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
