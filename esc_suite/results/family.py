"""One family of p values per table: the marks under it and the claims about it, corrected together, so that
they agree.

What is counted (Holm 1979, `intervals.holm`), each thing once:
- A mark: the difference of a row to its baseline or to its control. A claim with a single rule is counted
  like a mark, and as that mark where it is the same comparison.
- A claim with several rules says that all of them hold, and its null hypothesis is that one does not: an
  intersection-union test, whose p is the largest of the rules' and needs no correction among them (Berger
  1982, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24, 295-300). Rules that
  are marks are tested as these; the other ones are counted together, once, by their largest p. To find one of
  those the other way round, which contradicts the claim, is the opposite: a union, whose p is the smallest
  times their number (Bonferroni).
A claim whose rules are all marks follows from these and is not counted again. What cannot be decided in a
profile (runs missing, blocked, no printed number to compare with) is not counted either: a claim that lacks a
rule can still be contradicted by the others, and cannot be supported.

A two-sided p splits into the two directions: a rule found on its side counts with its p, one on the other
side with 1. So each direction of a claim is tested at half the level, as each direction of a mark is.
"""

from esc_suite.results import comparison, intervals, rules


def of_table(spec: dict, results: comparison.Results, name: str) -> dict:
    """Marks, rules and claims of one table with their verdicts: {"marks": {(row id, "baseline" or "control"):
    found}, "rules": {claim id: [found, ...]}, "counted": how many are in the family}.

    `found` as of `rules.find`, with `p_holm` and `verdict`: supported, contradicted, undecided or blocked."""
    table = spec["tables"][name]
    wanted = {place: _mark(table, name, *place) for place in _places(table)}
    claims = {c["id"]: c["rules"] for c in spec["claims"] if c["rules"][0]["left"].startswith(f"{name}.")}
    asked = _asked(rule for group in claims.values() for rule in group)

    def find(rule):
        return rules.find(spec, results, rule | asked.get(_pair(rule), {}))

    marks = {place: find(rule) for place, rule in wanted.items()}
    found = {claim: [find(rule) for rule in group] for claim, group in claims.items()}
    counted = {_key(rule): marks[place]["p"] for place, rule in wanted.items() if marks[place]["decidable"]}
    for claim, group in claims.items():
        if len(group) == 1 and found[claim][0]["decidable"]:
            counted.setdefault(_key(group[0]), found[claim][0]["p"])
    # Of each claim, the rules that are counted with it.
    loose = {
        claim: [
            r
            for rule, r in zip(group, found[claim], strict=True)
            if r["decidable"] and _key(rule) not in counted
        ]
        for claim, group in claims.items()
    }
    joint = {claim: _joint_p(group) for claim, group in loose.items() if group}
    adjusted = intervals.holm([*counted.values(), *joint.values()])
    singles = dict(zip(counted, adjusted[: len(counted)], strict=True))
    jointly = dict(zip(joint, adjusted[len(counted) :], strict=True))
    for place, rule in wanted.items():
        _judge(marks[place], singles.get(_key(rule)))
    for claim, group in claims.items():
        for rule, result in zip(group, found[claim], strict=True):
            key = _key(rule)
            _judge(
                result, singles[key] if key in singles else _shared(result, loose[claim], jointly.get(claim))
            )
    return {"marks": marks, "rules": found, "counted": len(adjusted)}


def _places(table: dict) -> list[tuple[str, str]]:
    return [(row["id"], kind) for kind in ("baseline", "control") for row in table["rows"] if row.get(kind)]


def _mark(table: dict, name: str, row_id: str, kind: str) -> dict:
    """A mark as a rule: in the printed direction against a baseline; above, against a control, which is not
    printed."""
    by_id = {row["id"]: row for row in table["rows"]}
    row, other = by_id[row_id], by_id[by_id[row_id][kind]]
    printed = [side.get("paper_accuracy") for side in (row, other)]
    direction = (
        "less" if kind == "baseline" and None not in printed and printed[0] < printed[1] else "greater"
    )
    ends = {"left": f"{name}.{row_id}", "right": f"{name}.{other['id']}"}
    return {"kind": "difference", "metric": "accuracy", "direction": direction, "margin": 0} | ends


def _pair(rule: dict) -> frozenset:
    return frozenset((rule["left"], rule["right"]))


def _key(rule: dict) -> tuple:
    """The same for two rules that are one comparison, whichever row they name first."""
    if rule["kind"] == "unsteady":
        return "unsteady", rule["left"], rule["right"]
    margin = rules.sign(rule) * rule.get("margin", 0)
    ends = sorted((rule["left"], rule["right"]))
    return rule["kind"], rule.get("metric", "accuracy"), *ends, margin if ends[0] == rule["left"] else -margin


def _asked(every) -> dict[frozenset, dict]:
    """What any rule asks of a pair of rows holds for all comparisons of that pair, marks included."""
    found: dict[frozenset, dict] = {}
    for rule in every:
        there = found.setdefault(_pair(rule), {})
        there["equal_budget"] = list(
            dict.fromkeys([*there.get("equal_budget", []), *rules.equal_budget(rule)])
        )
        there["needs_share"] = max(there.get("needs_share", 0), rule.get("needs_share", 0))
    return found


def _on_its_side(found: dict) -> bool:
    return rules.sign(found) * found["difference"] > found["margin"]


def _joint_p(own: list[dict]) -> float:
    """p of a claim's own rules together: the smaller one of "all hold" and "one is the other way round"."""
    holds = max(found["p"] if _on_its_side(found) else 1.0 for found in own)
    falls = min(1.0 if _on_its_side(found) else found["p"] for found in own)
    return min(holds, 1.0, len(own) * falls)


def _shared(found: dict, own: list[dict], joint: float | None) -> float | None:
    """Adjusted p of a rule that is counted with its claim. On its side, it holds if all of them do: theirs,
    or None where another one is on the wrong side. On the wrong side not below its own share."""
    if joint is None or not found["decidable"]:
        return None
    if not _on_its_side(found):
        return max(joint, min(1.0, len(own) * found["p"]))
    return joint if all(map(_on_its_side, own)) else None


def _judge(found: dict, p_holm: float | None) -> None:
    found["p_holm"] = p_holm if found["decidable"] else None
    if found["blocked"]:
        found["verdict"] = "blocked"
    elif found["p_holm"] is None:
        found["verdict"] = "undecided"
        if found["decidable"]:
            found["remarks"].append("decided only together with the other rules of its claim")
    else:
        found["verdict"] = comparison.verdict(found, found["direction"], found["margin"], found["p_holm"])
