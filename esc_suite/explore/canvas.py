"""Figures that follow a slider: what stands still is drawn once, what moves is laid over it."""

import io

import numpy as np

SCREEN_DPI = 90


class Base:
    """A figure without the pictures in its axes, drawn once: its labels and frames are laid over new pictures
    by pixel.

    `names`: labels of the axes that get pictures."""

    def __init__(self, figure, names):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        figure.set_dpi(SCREEN_DPI)
        axes = {part.get_label(): part for part in figure.axes if part.get_label() in names}
        for part in axes.values():
            for image in list(part.images):
                image.remove()
            part.patch.set_alpha(0)
        figure.patch.set_alpha(0)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.overlay = Image.fromarray(np.array(canvas.buffer_rgba()))
        tall, boxes = self.overlay.height, {name: part.get_window_extent() for name, part in axes.items()}
        # Where the axes lie, in pixels from the upper left: to parts of a pixel, and the pixels they cover
        self.exact = {name: (box.x0, tall - box.y1, box.x1, tall - box.y0) for name, box in boxes.items()}
        self.boxes = {name: tuple(map(round, box)) for name, box in self.exact.items()}
        self.width = self.overlay.width

    def paint(self, pictures) -> bytes:
        """PNG bytes of the figure with these RGB pictures (rows, columns, 3), 0..1, by name of the axes."""
        from PIL import Image

        whole = Image.new("RGBA", self.overlay.size, "white")
        for name, (left, top, right, bottom) in self.boxes.items():
            picture = Image.fromarray((255 * pictures[name] + 0.5).astype(np.uint8))
            x0, y0, x1, y1 = self.exact[name]
            across, down = picture.width / (x1 - x0), picture.height / (y1 - y0)  # of the picture, by pixel
            part = (
                max((left - x0) * across, 0), max((top - y0) * down, 0),
                min((right - x0) * across, picture.width), min((bottom - y0) * down, picture.height),
            )  # fmt: skip
            shown = picture.resize((right - left, bottom - top), Image.Resampling.NEAREST, box=part)
            whole.paste(shown, (left, top))
        whole.alpha_composite(self.overlay)
        drawn = io.BytesIO()
        whole.convert("RGB").save(drawn, "png", compress_level=1)
        return drawn.getvalue()


class Still:
    """A figure that is drawn once; artists that move are laid over it."""

    def __init__(self, figure):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure.set_dpi(SCREEN_DPI)
        self.figure, self.canvas = figure, FigureCanvasAgg(figure)
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(figure.bbox)
        self.width = round(figure.bbox.width)

    def paint(self, artists) -> bytes:
        """PNG bytes with these artists of the figure on top."""
        from PIL import Image

        self.canvas.restore_region(self.still)
        for artist in artists:
            self.figure.draw_artist(artist)
        drawn = io.BytesIO()
        Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3]).save(drawn, "png", compress_level=1)
        return drawn.getvalue()


class Lines(Still):
    """A figure of one axes whose lines move, the first aside: all else is drawn once."""

    def __init__(self, figure):
        (self.axes,) = figure.axes
        self.moving = self.axes.lines[1:]
        for line in self.moving:
            line.set_visible(False)
        super().__init__(figure)
        for line in self.moving:
            line.set_visible(True)

    def move(self, data) -> bytes:
        """PNG bytes with (x, y) of every moving line."""
        for line, (x, y) in zip(self.moving, data, strict=True):
            line.set_data(x, y)
        return self.paint(self.moving)


def heat_base(figure) -> Base:
    """Base of `figures.mask_heatmap`, for the pictures of `figures.heatmap.panels`."""
    figure.set_dpi(SCREEN_DPI)
    figure.draw_without_rendering()  # places are settled before anything is taken away
    figure.set_layout_engine("none")
    for part in figure.axes:
        if part.get_label() == "side":
            for text in list(part.texts):  # numbers of one tau and epoch; the table beside has them
                text.remove()
    return Base(figure, {"main", "above", "side"})
