"""Figures that set ours beside the paper's, for notebook 06 and the report: rows, claims. Tables in, Figure
out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.figures.tables import METRICS, wrapped
from esc_suite.results.comparison import daggers, short_name

# Colour and marker of a kind of row; the paper's number is an open diamond, a number of another paper a grey
# one.
KINDS = {
    "supervised": ("#0072B2", "o"), "FixMatch": ("#D55E00", "^"), "control": ("#767676", "s"),
    "frozen probe": ("#117733", "v"),
}  # fmt: skip
ELSEWHERE = "#B0B0B0"


def kind_of(experiment: str) -> str:
    """The kind of a row by its experiment's name; "" for a row that was printed by another paper."""
    if not experiment:
        return ""
    named = {"control": "control", "probe": "frozen probe", "match": "FixMatch"}
    return next((kind for part, kind in named.items() if part in experiment), "supervised")


@style.figure
def forest(table, title="Ours beside the paper"):
    """Every row: our number with its interval, coloured by the kind of row, and the printed one as a diamond.

    table: DataFrame with row, experiment, paper_accuracy, paper_auc, accuracy, accuracy_low, accuracy_high,
    auc, auc_low, auc_high (%), NaN where there is none; optionally group (a heading wherever it changes),
    network (for the daggers) and folds ("3 of 10"), which a row's name gets where those of its group differ.
    """
    entries = [{k: v for k, v in entry.items() if v == v} for entry in table.to_dict("records")]
    lines, headings, at, group = [], [], 0.0, None
    for entry in entries:
        if entry.get("group") and entry["group"] != group:
            group = entry["group"]
            headings.append((at, group))
            at += 0.9
        name = wrapped(short_name(entry["row"]), 36) + _own_folds(entry, entries)
        room = max(1.0, 0.55 * (1 + name.count("\n")))  # a line of a label takes so much
        lines.append((at + (room - 1) / 2, name, entry))
        at += room
    figure = style.new(7.0, 1.6 + 0.29 * at, title)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (metric, unit) in zip(panels, METRICS, strict=True):
        for place, _, entry in lines:
            _forest_row(axes, place, entry, metric)
        for place, _ in headings:
            axes.axhline(place - 0.5, color=style.LINE, linewidth=0.8)
        axes.set_xlabel(unit)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    ticks = [(place, name) for place, name, _ in lines] + headings
    panels[0].set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    for label, _ in zip(panels[0].get_yticklabels()[len(lines) :], headings, strict=True):
        label.set_fontweight("bold")
    panels[0].set_ylim(at - 0.4, -0.7)
    _forest_key(figure, entries)
    ours, printed = int(table["accuracy"].notna().sum()), any("paper_accuracy" in entry for entry in entries)
    diamonds = ", the paper's numbers as open diamonds" if printed else ""
    return style.described(
        figure,
        f"Accuracy and AUC of {len(table)} rows, one a line: {ours} of ours with a 95 % interval, coloured "
        f"by the kind of row{diamonds}",
        "A diamond outside of our interval is further off than the choice of recordings explains."
        if printed
        else "Lines are 95 % intervals. Rows that ran on other folds cannot be compared by them.",
    )


def _own_folds(entry, entries) -> str:
    """On which folds a row ran, where that is not the same in all rows of its group that ran."""
    beside = {e.get("folds") for e in entries if e.get("group") == entry.get("group") and "accuracy" in e}
    ran = "accuracy" in entry and entry.get("folds")
    return f"\n{entry['folds']} folds" if ran and len(beside) > 1 else ""


def _forest_row(axes, place, entry, metric):
    ours, low, high = (_number(entry.get(key)) for key in (metric, f"{metric}_low", f"{metric}_high"))
    kind = kind_of(entry.get("experiment", ""))
    if np.isfinite(ours):
        colour, marker = KINDS[kind or "supervised"]
        axes.errorbar(
            ours,
            place + 0.1,
            xerr=_reach(ours, low, high),
            color=colour,
            marker=marker,
            markersize=5.5,
            elinewidth=2,
        )
    printed = _number(entry.get(f"paper_{metric}"))
    if np.isfinite(printed):
        _diamond(axes, printed, place - (0.2 if np.isfinite(ours) else 0), "white" if kind else ELSEWHERE)


def _reach(ours, low, high):
    """Error bar's lengths to both sides; None where an end is not known."""
    return (
        [[max(0.0, ours - low)], [max(0.0, high - ours)]] if np.isfinite(low) and np.isfinite(high) else None
    )


def _forest_key(figure, entries):
    """A legend of the glyphs that occur, with what the daggers stand for above it."""
    from matplotlib.lines import Line2D

    ran = {kind_of(entry["experiment"]) for entry in entries if np.isfinite(_number(entry.get("accuracy")))}
    keys = [
        Line2D([], [], color=colour, marker=marker, linewidth=2, markersize=5.5, label=f"ours, {kind}")
        for kind, (colour, marker) in KINDS.items()
        if kind in ran
    ]
    printed = {
        bool(entry.get("experiment"))
        for entry in entries
        if "paper_accuracy" in entry or "paper_auc" in entry
    }
    keys += [_diamond_key("the paper's number", "white")] if True in printed else []
    keys += [_diamond_key("of another paper", ELSEWHERE)] if False in printed else []
    words = ["Lines: 95 % intervals", *daggers(entries)]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, title=wrapped(". ".join(words), 100),
                  title_fontsize=8.5)  # fmt: skip


def _diamond(axes, x, y, face="white"):
    axes.plot(x, y, "D", markerfacecolor=face, markeredgecolor="black", markersize=5, zorder=4)


def _diamond_key(label, face):
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color="black", marker="D", markerfacecolor=face, linestyle="none", markersize=5, label=label
    )


def _number(value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


GLYPHS = {
    "supported": "\N{CHECK MARK}",
    "contradicted": "\N{MULTIPLICATION X}",
    "undecided": "?",
    "blocked": "\N{EN DASH}",
}
HOLDS = "#E3F0E0"  # where a difference would support the claim


@style.figure
def claims_overview(claims, title="The paper's claims, on these runs"):
    """One line a comparison, under its claim: our difference with its interval, the printed one, a band where
    the claim holds, and in words what keeps the comparison from being decided.

    claims: as `tables.claims.decide` gives them: dicts with id, claim, verdict (supported, contradicted,
    undecided, blocked) and rules, each with pair, why, verdict, direction, margin, and difference, low, high
    and paper (points).
    """
    from matplotlib.transforms import blended_transform_factory

    lines, headings, at = [], [], 0.0
    for claim in claims:
        headings.append((at, claim))
        at += 0.85
        lines += [(at + 0.75 * step, rule) for step, rule in enumerate(claim["rules"])]
        at += 0.75 * len(claim["rules"]) + 0.3
    figure = style.new(7.4, 1.4 + 0.27 * at, title)
    axes = figure.add_subplot()
    ends = [_number(rule.get(key)) for _, rule in lines for key in ("difference", "low", "high", "paper")]
    ends = [0.0, *(value for value in ends if np.isfinite(value))]
    room = 0.05 * (max(ends) - min(ends) + 1)
    axes.set_xlim(min(ends) - room, max(ends) + room)
    for place, rule in lines:
        _claim_rule(axes, place, rule)
    edge = blended_transform_factory(figure.transFigure, axes.transData)
    for place, claim in headings:
        words = (
            f"({claim['id'].split('_')[0]}) {claim['claim']}  {GLYPHS[claim['verdict']]} {claim['verdict']}"
        )
        axes.text(0.01, place, words, transform=edge, va="center", fontsize=8.5, fontweight="bold",
                  in_layout=False,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5}, zorder=5,
                  color=style.VERDICTS[claim["verdict"]])  # fmt: skip
        axes.axhline(place - 0.6, color=style.LINE, linewidth=0.8) if place else None
    axes.axvline(0, color=style.MUTED, linewidth=1)
    axes.set(xlabel="difference [points]", ylim=(at - 0.2, -0.6))
    axes.set_yticks([place for place, _ in lines], [rule["pair"] for _, rule in lines], fontsize=8)
    axes.tick_params(axis="y", left=False)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    _claims_key(figure, [rule for _, rule in lines])
    return style.described(
        figure,
        "The paper's claims, each with a verdict and its comparisons: our difference with its interval, the "
        "printed "
        "one, the side on which the claim holds, and what keeps it from being decided",
        "One line a comparison; differences in points, with 95 % intervals.",
    )


def _claim_rule(axes, place, rule):
    colour = style.VERDICTS[rule["verdict"]]
    ours, low, high, printed = (_number(rule.get(key)) for key in ("difference", "low", "high", "paper"))
    sign = -1 if rule["direction"] == "less" else 1
    ends = sorted((sign * rule["margin"], sign * 1e4))
    axes.fill_betweenx((place - 0.33, place + 0.33), *ends, color=HOLDS, linewidth=0)
    if np.isfinite(ours):
        axes.errorbar(
            ours,
            place + 0.08,
            xerr=_reach(ours, low, high),
            color=colour,
            marker="o",
            markersize=5,
            elinewidth=2,
        )
    if np.isfinite(printed):
        _diamond(axes, printed, place - 0.14)
    words = rule["why"] or f"{GLYPHS[rule['verdict']]} {rule['verdict']}"
    axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=colour)


def _claims_key(figure, rules):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [
        Line2D(
            [],
            [],
            color=style.MUTED,
            marker="o",
            linewidth=2,
            markersize=5,
            label="ours, with its 95 % interval",
        )
    ]
    keys += (
        [_diamond_key("the paper's number", "white")]
        if any(rule.get("paper") is not None for rule in rules)
        else []
    )
    keys.append(Patch(color=HOLDS, label="where the claim holds"))
    rows = [{"row": rule.get(side, "")} for rule in rules for side in ("left", "right")]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, title=". ".join(daggers(rows)) or None,
                  title_fontsize=8.5)  # fmt: skip
