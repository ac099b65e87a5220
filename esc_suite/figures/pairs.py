"""Figure of notebook 05: FixMatch against its control on the same validation clips, fold by fold. Arrays in,
Figure out."""

from esc_suite.figures import style

SIDES = {"higher with FixMatch": (style.VALID, ""), "equal or lower with FixMatch": (style.ACCENT, (3, 1.5))}
ENDS = {"control": "control", "fixmatch": "with FixMatch"}


@style.figure
def pairs(scores, differences, title="FixMatch against its control, fold by fold"):
    """A slope for every fold, from the control's accuracy to FixMatch's; one panel for each network.

    scores: DataFrame with network, fold, control, fixmatch (accuracy, %); differences: network -> (mean
    difference, low, high) in points, FixMatch less control, with None for an interval of a single fold. The
    panels span equally many points.
    """
    import seaborn

    figure = style.new(7.0, 4.4, title)
    panels = figure.subplots(1, len(differences), squeeze=False)[0]
    said, span = (
        [],
        4
        + max(
            float(own[list(ENDS)].to_numpy().max() - own[list(ENDS)].to_numpy().min())
            for _, own in scores.groupby("network")
        ),
    )
    for axes, (network, found) in zip(panels, differences.items(), strict=True):
        own = scores[scores["network"] == network]
        up = (own["fixmatch"] > own["control"]).map(dict(zip((True, False), SIDES, strict=True)))
        long = own.assign(side=up).melt(["fold", "side"], list(ENDS), var_name="row", value_name="accuracy")
        seaborn.lineplot(
            long, x="row", y="accuracy", hue="side", style="side", units="fold", estimator=None,
            hue_order=SIDES,
            style_order=SIDES, palette={side: colour for side, (colour, _) in SIDES.items()},
            dashes={side: dashes for side, (_, dashes) in SIDES.items()}, alpha=0.75, legend=False,
            ax=axes,
        )  # fmt: skip
        mean = {"color": style.INK, "linewidth": 3, "marker": "o"}
        seaborn.lineplot(long, x="row", y="accuracy", errorbar=None, ax=axes, **mean)
        words = difference_words(*found, len(own))
        axes.set_title(f"{network}\n{words}", fontsize=9, fontweight="normal")
        middle = (long["accuracy"].max() + long["accuracy"].min()) / 2
        axes.set(xlabel="the same validation clips", ylabel="validation accuracy [%]", xlim=(-0.25, 1.25))
        axes.set_ylim(middle - span / 2, middle + span / 2)
        axes.set_xticks([0, 1], list(ENDS.values()))
        axes.grid(axis="y")
        said.append(f"{network}: {words}")
    _legend(figure)
    return style.described(
        figure,
        f"Lines from the accuracy of the control to that of FixMatch, one for each fold. {'; '.join(said)}",
        f"Difference in accuracy, FixMatch less control. {'; '.join(said)}.",
    )


def difference_words(mean, low, high, folds: int) -> str:
    """A mean difference with its interval: "+1.2 points [-0.3, +2.7], 10 folds"."""
    interval = "no interval" if low is None else f"[{low:+.1f}, {high:+.1f}]"
    return f"{mean:+.1f} points {interval}, {folds} fold{'s' if folds != 1 else ''}"


def _legend(figure):
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], color=colour, linestyle=(0, dashes) if dashes else "-", label=side)
        for side, (colour, dashes) in SIDES.items()
    ]
    keys.append(Line2D([], [], color=style.INK, linewidth=3, marker="o", label="mean of the folds"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
