"""Every figure of the suite: pure functions, arrays in, matplotlib Figure out; and `save`.

All functions take `synthesised=True` and then say "synthesised audio" in the title, and `of`, the run or clip
that they show, for its second line. A figure brings its text alternative (`alt`) and its caption. Axes carry
units; a class or a method has the same colour everywhere (`esc_suite.figures.style`). Nothing here computes a
headline number: what is drawn is counted from the arrays given, and tables take theirs from `audit`.
"""

import io
import json
from pathlib import Path

from esc_suite.figures.confidence import (
    confidence_curve,
    confidence_roc,
    reliability,
    threshold_comparison,
    threshold_sweep,
)
from esc_suite.figures.data import (
    class_fold_counts,
    clip_view,
    durations,
    example_grid,
    mel_centres,
    recordings_per_fold,
    salience,
    spectrogram_colours,
)
from esc_suite.figures.fixmatch import confidence_histograms, pseudo_label_by_class, pseudo_label_curves
from esc_suite.figures.heatmap import mask_heatmap
from esc_suite.figures.network import layer_shapes, layer_table, network
from esc_suite.figures.pairs import pairs
from esc_suite.figures.paper import claims_overview, forest
from esc_suite.figures.runs import confusion_matrix, learning_curves, one_vs_rest, roc_curves
from esc_suite.figures.step import fixmatch_step
from esc_suite.figures.style import own_style
from esc_suite.figures.tables import (
    all_fold_curves,
    fold_curves,
    fold_dots,
    mean_roc,
    roc_artists,
    roc_frame,
    roc_title,
)
from esc_suite.figures.views import masked_area, specaugment_table, views
from esc_utils.files import replace_all

__all__ = [
    "all_fold_curves", "claims_overview", "class_fold_counts", "clip_view", "confidence_curve",
    "confidence_histograms", "confidence_roc", "confusion_matrix", "durations", "example_grid",
    "fixmatch_step", "fold_curves", "fold_dots", "forest", "layer_shapes", "layer_table", "learning_curves",
    "mask_heatmap", "masked_area", "mean_roc", "mel_centres", "network", "one_vs_rest", "pairs",
    "pseudo_label_by_class",
    "pseudo_label_curves", "recordings_per_fold", "reliability", "roc_artists", "roc_curves", "roc_frame",
    "roc_title", "salience", "save", "specaugment_table", "spectrogram_colours", "threshold_comparison",
    "threshold_sweep", "views",
]  # fmt: skip


def save(
    figure, folder, name: str, alt: str = "", caption: str = "", command: str = "",
    provenance: dict | None = None,
    formats=("png", "svg"), dpi: int = 200,
):  # fmt: skip
    """Write a Figure and its description; return the picture, for the last line of a notebook cell to show.

    `alt` and `caption` are the figure's own unless given.

    Files: <name>.png (`dpi`), <name>.svg or .pdf where `formats` asks, and <name>.json with {alt, caption,
    command, provenance}. Neither holds a time stamp: the same figure gives the same bytes. The PNG is always
    written, since the report needs it, and is what is returned (an IPython Image of the figure's own width),
    so that a figure is drawn once only.
    """
    folder, drawn = Path(folder), draw(figure, dpi)
    alt, caption = alt or figure.alt, caption or figure.caption
    contents = {folder / f"{name}.png": drawn}
    for kind in formats:
        if kind != "png":
            dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}[kind]
            contents[folder / f"{name}.{kind}"] = _vector(figure, kind, dated)
    described = {"alt": alt, "caption": caption, "command": command, "provenance": provenance or {}}
    contents[folder / f"{name}.json"] = (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode()
    replace_all(contents, sync=False)

    from IPython.display import Image

    return Image(drawn, format="png", alt=alt, width=round(figure.get_figwidth() * 100))


def draw(figure, dpi: float = 100, small: bool = True) -> bytes:
    """A Figure as PNG bytes. It lays out and draws once, where `Figure.savefig` draws twice; `small` keeps
    256 colours, which halves the file, and takes some 50 ms."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    usual, drawn = figure.get_dpi(), io.BytesIO()
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    with own_style():
        canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    picture = _fewer_colours(pixels) if small else Image.fromarray(pixels)
    picture.save(drawn, "png", dpi=(dpi, dpi))
    figure.set_dpi(usual)
    return drawn.getvalue()


def _fewer_colours(pixels):
    """RGB pixels (height, width, 3) as a palette image: the style's own colours exactly, the rest by median
    cut, which alone would merge rare ones, such as a thin stripe in a class's colour, into their
    neighbours."""
    import numpy as np
    from matplotlib.colors import to_rgb
    from PIL import Image

    from esc_suite.figures.style import colours

    exact = np.array([[round(255 * part) for part in to_rgb(colour)] for colour in colours()], np.uint8)
    room = 256 - len(exact)
    found = Image.fromarray(pixels).quantize(room, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    index = np.array(found)
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    for place, colour in enumerate(
        exact.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32), start=room
    ):
        index[packed == colour] = place
    palette = np.zeros((256, 3), np.uint8)
    cut = np.array(found.getpalette(), np.uint8).reshape(-1, 3)[:room]
    palette[: len(cut)], palette[room:] = cut, exact
    picture = Image.frombytes("P", found.size, index.tobytes())
    picture.putpalette(palette.tobytes())
    return picture


def _vector(figure, kind: str, metadata: dict) -> bytes:
    drawn = io.BytesIO()
    with own_style():
        figure.savefig(drawn, format=kind, metadata=metadata)
    return drawn.getvalue()
