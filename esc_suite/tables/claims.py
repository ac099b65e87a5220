"""The paper's claims, each decided by its rules in params/tables.yaml from the runs: `python -m esc_suite
claims`."""

import collections
import re

from esc_suite.results import comparison, family, intervals, rules
from esc_suite.results.rules import sign

OPEN = "open"
# And a glyph for each
VERDICTS = {"supported": "\u2713", "contradicted": "\u2717", "undecided": "?", "blocked": "\u2013"}


def decide(spec: dict, results: comparison.Results) -> list[dict]:
    """One dict a claim, in the order of the file.

    id, claim (its words), evidence (words), note, data, scope; the first rule's difference, low, high and
    paper (points); p and p_holm (of the rule that decides, adjusted over the family of its table, see
    `family`); `rules`, of each its evidence, `pair` (what is compared) and `why` (see there); and the
    verdict, which has two parts:
    - `on_this_network`: what these runs say of the networks and the audio that they used: supported if all
      rules are, contradicted if one is, blocked (with the reason) where a comparison would not mean what it
      says, else undecided. `verdict` is the same in one word.
    - `of_the_paper`: that verdict where PANN's own weights have run on UrbanSound8K whole, on all folds; else
      "open".
    `least_detectable` (points) and `could_be_decided`: see `_power`."""
    found: dict[str, list[dict]] = {}
    for name in spec["tables"]:
        if name != "table1":
            found |= family.of_table(spec, results, name)["rules"]
    return [_claim(claim, found[claim["id"]]) for claim in spec["claims"]]


def summary(verdicts: list[dict]) -> str:
    """How many claims these runs could decide at all, in one sentence; "" where no run tells how noisy they
    are."""
    if all(claim["least_detectable"] is None for claim in verdicts):
        return ""
    count = sum(claim["could_be_decided"] for claim in verdicts)
    return (
        f"{count} of {len(verdicts)} claims could be decided here: the least detectable difference (80% "
        "power, two-sided "
        "5%, from the measured standard error) is below the printed one, and nothing blocks the comparison."
    )


def outcome(results: comparison.Results, built: dict[str, list[dict]], verdicts: list[dict]) -> list[str]:
    """The outcome of a profile in three sentences: what ran, what FixMatch adds to its control, what becomes
    of the claims.

    built: rows of the tables by name, of `rows.build`."""
    every = [run for folds in results.found.values() for seeds in folds.values() for run in seeds.values()]
    rows = [
        row for name in reversed(built) for row in built[name] if row.get("control_difference") is not None
    ]
    networks = "; ".join(dict.fromkeys(map(comparison.network_name, filter(comparison.stands_in, every))))
    count = collections.Counter(claim["verdict"] for claim in verdicts)
    still = sum(claim["of_the_paper"] == OPEN for claim in verdicts)
    ran = f"{len(every)} run{'s' if len(every) > 1 else ''} on {comparison.data_label(every)}"
    sentences = [f"{ran}{f', with {networks} in place of PANN' if networks else ''}."]
    if pretrained := [row for row in rows if "cnn14" not in row["experiment"]] or rows:
        row = pretrained[0]
        interval = (
            "" if row["control_low"] is None else f" [{row['control_low']:.1f}, {row['control_high']:.1f}]"
        )
        printed = row["paper_accuracy_difference"]
        told = (
            f", where the paper prints {printed:+.2f} over its supervised row" if printed is not None else ""
        )
        sentences.append(
            "FixMatch changes the accuracy of its control, which sees the same labelled clips and nothing "
            "unlabelled, by "
            f"{row['control_difference']:+.1f}{interval} points over {row['folds']} folds{told}."
        )
    words = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS)
    sentences.append(
        f"Of the paper's {len(verdicts)} claims these runs leave {words}; of the paper itself {still} stay "
        "open."
    )
    return sentences


def _claim(claim: dict, found: list[dict]) -> dict:
    for rule in found:
        rule |= {"evidence": _evidence(rule), "why": why(rule), "pair": _pair(rule)}
    verdict, reason = _verdict(found)
    on_this_network = f"{verdict}: {reason}" if reason else verdict
    decisive = _decisive(found, verdict)
    first = found[0]
    return {
        "id": claim["id"],
        "claim": claim["text"],
        "verdict": verdict,
        "on_this_network": on_this_network,
        "of_the_paper": on_this_network if all(rule["of_the_paper"] for rule in found) else OPEN,
        "parts": _parts(found),
        "evidence": " ".join(filter(None, [_parts(found), *(rule["evidence"] for rule in found)])),
        "note": claim.get("note", ""),
        "data": next((rule["data"] for rule in found if rule["data"]), ""),
        "scope": next((rule["scope"] for rule in found if rule["scope"]), ""),
        "difference": first.get("difference"),
        "low": first.get("low"),
        "high": first.get("high"),
        "paper": first["paper"],
        "p": decisive and decisive["p"],
        "p_holm": decisive and decisive["p_holm"],
        **_power(found),
        "rules": found,
    }


def _verdict(found: list[dict]) -> tuple[str, str]:
    """(verdict in a word, reason of a blocked one). A row that is not trained out blocks the whole claim; any
    other block only keeps it from being supported, since one rule that is contradicted is enough."""
    verdicts = [rule["verdict"] for rule in found]
    blocked = list(dict.fromkeys(reason for rule in found for reason in rule["reasons"]))
    if "contradicted" in verdicts and not any(rule["untrained"] for rule in found):
        return "contradicted", ""
    if blocked:
        return "blocked", "; ".join(blocked)
    return ("undecided" if "undecided" in verdicts else "supported"), ""


def _decisive(found: list[dict], verdict: str) -> dict | None:
    """The rule whose p is the claim's: the clearest contradiction, else the weakest support; None where one
    has none."""
    if verdict == "contradicted":
        return min((rule for rule in found if rule["verdict"] == verdict), key=lambda rule: rule["p_holm"])
    if any(rule["p_holm"] is None for rule in found):
        return None
    return max(found, key=lambda rule: rule["p_holm"])


def _parts(found: list[dict]) -> str:
    """Which of several rules hold, in a sentence: of a FixMatch row, against its baseline and against its
    control."""
    if len(found) == 1:
        return ""
    both = any(rule["control"] for rule in found)

    def name(rule):
        if both:
            return f"against the {'control' if rule['control'] else 'printed baseline'}: {rule['verdict']}"
        of = "less steady than" if rule["kind"] == "unsteady" else "against"
        return f"{rule['labels'][0]} {of} {rule['labels'][1]}: {rule['verdict']}"

    words = "; ".join(map(name, found))
    return f"FixMatch {words}." if both else f"{words}."


def _power(found: list[dict]) -> dict:
    """`least_detectable`: points beyond its margin that the rule furthest from being decidable can find with
    80% power; `could_be_decided`: whether that is below the printed difference for every rule, and none is
    blocked or missing.

    A control is not printed: its difference is expected to be the one printed against the baseline.
    Unsteadiness has no size in points and takes no part."""
    expected = next((abs(rule["paper"]) for rule in found if rule["paper"] is not None), None)
    worst, enough = None, True
    for rule in (rule for rule in found if rule["kind"] != "unsteady"):
        printed = expected if rule["paper"] is None else rules.sign(rule) * rule["paper"]
        least = rule.get("least_detectable")
        enough &= (
            rule["decidable"]
            and least is not None
            and printed is not None
            and least <= printed - rule["margin"]
        )
        if least is not None and (worst is None or least > worst):
            worst = least
    return {"least_detectable": worst, "could_be_decided": bool(enough)}


def _evidence(found: dict) -> str:
    """One or two sentences about a rule."""
    if found["difference"] is None:
        return f"{found['left']} against {found['right']}: undecided, missing: {'; '.join(found['lacking'])}."
    words = [_measured(found), found["verdict"], *found["reasons"], *found["remarks"]]
    words += [f"missing: {'; '.join(found['lacking'])}"] if found["lacking"] else []
    if found.get("seed_low") is not None:
        words.append(f"over {found['seeds']} seeds [{found['seed_low']:.2f}, {found['seed_high']:.2f}]")
    elif found["kind"] == "difference":
        words.append("one seed, so training noise is not covered")
    if found["paper"] is not None and found.get("low") is not None:
        inside = found["low"] <= found["paper"] <= found["high"]
        words.append(f"printed {found['paper']:+.2f}, {'inside' if inside else 'outside'} our interval")
        found["paper_inside"] = inside
    if found["stated"] is not None:
        words.append(f"the text says {found['stated']:+g}")
    if found["stated_relative"] is not None:
        ours = 100 * found["difference"] / found["right_level"]
        words.append(f"{ours:+.1f}% relative, the text says about {found['stated_relative']:+g}%")
    if found.get("what_it_would_take"):
        beyond = " beyond the margin" if found["margin"] else ""
        words.append(
            f"the printed difference would take {found['what_it_would_take']} to show{beyond} with 80% power"
        )
    return "; ".join(words) + "."


def why(found: dict) -> str:
    """What keeps a rule from being decided, in a few words; "" for one that is."""
    if found["verdict"] in ("supported", "contradicted"):
        return ""
    if found["blocked"]:
        about = {"trained out": "not trained "
                                "out", "differ in": "another budget", "of the loss": "small share of the "
                                                                                     "loss",
                 "printed": "not comparable", "exceed": "above the claimed budget"}  # fmt: skip
        return next((words for part, words in about.items() if part in found["blocked"]), "blocked")
    if found["difference"] is None:
        return "too few epochs" if any("epochs" in words for words in found["lacking"]) else "no run yet"
    if found["p_holm"] is None:
        return "only with the claim's other rules"
    if found["p_holm"] >= 1 - intervals.LEVEL:
        limit = sign(found) * found["margin"]
        if found.get("low") is None or found["low"] <= limit <= found["high"]:
            return (
                f"interval reaches {limit:g}"
                if found.get("low") is not None
                else comparison.p_words(found["p_holm"])
            )
        return f"{comparison.p_words(found['p_holm'])} by Holm"
    return "another seed could undo it"


def _pair(found: dict) -> str:
    """The rows of a rule, with short names."""
    left, right = (
        re.sub(r" \([^()]* \d{4}\)$", "", comparison.short_name(found[side])) for side in ("left", "right")
    )
    return f"{left} {'less steady than' if found['kind'] == 'unsteady' else 'against'} {right}" + (
        ", AUC" if found["metric"] == "auc" else ""
    )


def _measured(found: dict) -> str:
    what = "AUC" if found["metric"] == "auc" else "accuracy"
    pair = f"{found['left']} against {found['right']}"
    if found["kind"] == "unsteady":
        a, b = found["deviations"]
        chances = _chances(found)
        return (
            f"{pair}: epoch-to-epoch changes deviate by {a:.2f} and {b:.2f} points ({chances}, one run a "
            "seed)"
        )
    text = f"{pair}, {what} {found['difference']:+.2f} points"
    if found.get("low") is not None:
        text += f" [{found['low']:.2f}, {found['high']:.2f}], {_chances(found)}"
    if found["metric"] == "accuracy" and found["by_recording"] is not None:
        text += f", by recording {found['by_recording']:+.1f}"
    margin = f" against a margin of {found['margin']:g}" if found["margin"] else ""
    text += f", {found['test']}{margin}, {len(found['fold_list'])} of {len(found['folds_wanted'])} folds"
    if found.get("recordings"):
        text += f", {found['clips']} clips of {found['recordings']} recordings"
    return text + (", unpaired, the printed number taken as exact" if found.get("unpaired") else "")


def _chances(found: dict) -> str:
    adjusted = "" if found["p_holm"] is None else f" ({comparison.p_words(found['p_holm'])} by Holm)"
    return comparison.p_words(found["p"]) + adjusted
