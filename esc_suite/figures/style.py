"""One look for every figure: colours and line styles of classes and methods, and the decorator that applies
it."""

import functools
import inspect

import numpy as np

# Ten hues that stay apart under the common colour-vision deficiencies; in grey, the dashes below tell them
# apart.
CLASS_COLOURS = (
    "#332288", "#E69F00", "#117733", "#882255", "#44AA99",
    "#999933", "#D55E00", "#56B4E9", "#CC79A7", "#4D4D4D",
)  # fmt: skip
DASHES = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2, 2, 2)), (0,
          (3, 3)),
          (0, (2, 1, 6, 1)))  # fmt: skip

# States of a pseudo-label. Dark, middle, light and white in grey, too.
STATES = {
    "accepted, right": "#0B4F8A",
    "accepted, wrong": "#E8702A",
    "rejected": "#D3D6DA",
    "not drawn yet": "#FFFFFF",
}
RIGHT, WRONG, REJECTED, NOT_DRAWN = STATES.values()
VERDICTS = {"supported": "#117733", "contradicted": "#B2182B", "undecided": "#6B6B6B", "blocked": "#8A5A00"}

INK, MUTED, LINE = "#1A1A1A", "#595959", "#B8B8B8"
TRAIN, VALID, ACCENT, MASK = "#8C8C8C", "#0072B2", "#D55E00", "#9FB4C4"

# Experiment -> (colour, marker, dashes). Rows of one method keep a hue; variants differ in shade, marker and
# dashes.
METHODS = {
    "cnn14_table2": ("#767676", "s", "--"),
    "cnn14_10": ("#767676", "s", "--"),
    "pann_table2": ("#0072B2", "o", "-"),
    "pann_10": ("#0072B2", "o", "-"),
    "pann_100": ("#1A1A1A", "D", (0, (8, 2, 2, 2))),
    "pann_control": ("#0072B2", "s", ":"),
    "pann_probe": ("#117733", "*", (0, (1, 1))),
    "pann_probe_100": ("#117733", "X", (0, (8, 2, 2, 2))),
    "cnn14_control": ("#767676", "D", ":"),
    "cnn14_fixmatch": ("#E69F00", "P", "-."),
    "fixmatch_tau095": ("#F0936B", "v", ":"),
    "fixmatch_tau095_nomixup": ("#CC79A7", "X", (0, (1, 1))),
    "fixmatch_tau085": ("#E3682F", "d", "--"),
    "fixmatch_tau075": ("#A63603", "^", "-"),
    "fixmatch_tau075_accum": ("#882255", "<", "-."),
    "fixmatch_tau075_sgd": ("#56B4E9", ">", (0, (3, 3))),
    "fixmatch_tau075_ranger": ("#009E73", "h", (0, (6, 1.5))),
    "flexmatch": ("#332288", "p", "-."),
    "freematch": ("#117733", "H", "--"),
    "softmatch": ("#CC79A7", "d", "-"),
}

RC = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.titlesize": 11.5,
    "figure.titleweight": "bold",
    "savefig.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # a fixed place: finding one anew for every draw costs a fifth of the time
    "axes.labelsize": 9.5,
    "axes.edgecolor": "#4D4D4D",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": "#4D4D4D",
    "ytick.color": "#4D4D4D",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "image.cmap": "magma",
    "hatch.linewidth": 0.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "esc_utils",
}  # fmt: skip


def figure(function):
    """Decorator of every plotting function: the style as a context (no global state), what the figure is `of`
    (a run, in words) on a second line of the title, the `synthesised` mark, and the caption, which begins
    with the title.

    The function returns a `matplotlib.figure.Figure` that pyplot does not know: it is shown once, where a
    notebook displays it, and is freed with its last reference. With `synthesised=True` its title ends in
    "synthesised audio".
    """

    @functools.wraps(function)
    def styled(*args, synthesised: bool = False, of: str = "", **kwargs):
        with own_style():
            made = function(*args, **kwargs)
            if of:
                _head(made, f"{made.get_suptitle()}\n{of}")
            if synthesised:
                mark_synthesised(made)
            _room_for(made)
        made.caption = (
            f"{made.get_suptitle().replace(chr(10), ': ', 1)}. {getattr(made, 'caption', '')}".rstrip()
        )
        return made

    own = inspect.signature(function)
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=kind(), annotation=kind)
        for name, kind in (("synthesised", bool), ("of", str))
    ]
    styled.__signature__ = own.replace(parameters=[*own.parameters.values(), *extra])
    return styled


def _room_for(made):
    """Lower the panels of a figure with fixed margins where its title has more than the two lines that these
    allow."""
    more = made.get_suptitle().count("\n") - 1
    if more > 0 and not made.get_layout_engine():
        made.subplots_adjust(top=made.subplotpars.top - 0.2 * more / made.get_figheight())


def described(made, alt: str, caption: str = ""):
    """The Figure, with its text alternative and the sentences that follow the title in its caption."""
    made.alt, made.caption = alt, caption
    return made


def own_style():
    """Context in which matplotlib has its defaults with RC over them, whatever a person's matplotlibrc or
    session has set: for making a figure, and for drawing it, which makes the ticks."""
    from matplotlib import style

    return style.context(RC, after_reset=True)


def retitle(made, text: str, synthesised: bool):
    """Another title for a Figure that is drawn again and again; the Text."""
    shown = _head(made, text)
    return mark_synthesised(made) if synthesised else shown


def mark_synthesised(made):
    """Write "synthesised audio" into the title of a Figure, on a line of its own where the title is long; the
    Text."""
    title = made.get_suptitle()
    room = made.get_figwidth() * 10.2  # characters of the title's size that fit beside each other
    join = " \N{MIDDLE DOT} " if len(title.split("\n")[-1]) + 20 <= room else "\n"
    text = f"{title}{join}synthesised audio" if title else "synthesised audio"
    return _head(made, text)


def _head(made, text: str):
    """Title at the left edge; constrained layout makes room for it only where its height is left open."""
    at = {} if made.get_layout_engine() else {"y": 0.985, "va": "top"}
    return made.suptitle(text, x=0.01, ha="left", **at)


def new(width: float = 7.0, height: float = 4.0, title: str = "", margins: dict | None = None):
    """Empty Figure of width x height inches with a title at its left edge, and constrained layout; or fixed
    `margins` (left, right, bottom, top, as shares), which draw in half the time, for figures that follow a
    slider."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout=None if margins else "constrained")
    if margins:
        made.subplots_adjust(**margins)
    if title:
        _head(made, title)
    return made


def method(experiment: str) -> dict:
    """Line keywords (color, marker, linestyle) of a trained row; unknown names get a steady one of their
    own."""
    if experiment in METHODS:
        colour, marker, dashes = METHODS[experiment]
    else:
        pick = sum(experiment.encode())
        colour, marker, dashes = CLASS_COLOURS[pick % 10], "os^vDPX"[pick % 7], DASHES[pick % 10]
    return {"color": colour, "marker": marker, "linestyle": dashes}


def key_below(made, handles, names, columns: int, title: str = "") -> None:
    """Legend under all panels, for either kind of layout."""
    place = "outside lower center" if made.get_layout_engine() else "lower center"
    made.legend(handles, names, loc=place, ncols=columns, title=title or None)


def epoch_axis(axes, epochs, most: int = 6) -> None:
    """Limits of an axis of epochs, which fit one epoch too, and at most `most` whole numbers on it."""
    from matplotlib.ticker import MaxNLocator

    first, last = float(np.min(epochs)), float(np.max(epochs))
    room = max(0.5, 0.03 * (last - first))
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most, min_n_ticks=1))


def colours() -> list[str]:
    """Every colour that this style names, white and black included."""
    named = [
        *CLASS_COLOURS,
        *STATES.values(),
        *VERDICTS.values(),
        *(colour for colour, _, _ in METHODS.values()),
    ]
    return list(dict.fromkeys([*named, INK, MUTED, LINE, TRAIN, VALID, ACCENT, MASK, "#000000"]))


def spoken(name: str) -> str:
    """`air_conditioner` -> `air conditioner`: class names as they are read."""
    return str(name).replace("_", " ")


def colour_of(index: int) -> str:
    """Colour of class `index`, the same in every notebook."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]


def on(colour) -> str:
    """Black or white, whichever reads better on `colour` (WCAG relative luminance)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.18 else "white"


def panel_grid(count: int, columns: int) -> tuple[int, int]:
    """Rows and columns of a grid of `count` panels, at most `columns` wide."""
    columns = max(1, min(count, columns))
    return -(-max(count, 1) // columns), columns
