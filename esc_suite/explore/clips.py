"""Widgets of notebooks 01 and 02: a browser of clips, and SpecAugment's stripes by sliders."""

import numpy as np

from esc_suite import figures
from esc_suite.explore.canvas import Base
from esc_suite.explore.html import audio, image, img
from esc_suite.figures import style
from esc_suite.results import masking

WIDE = {"description_width": "130px"}


def clip_browser(dataset, features, config):
    """Pick a class, a fold and a clip; see its waveform and log-mel, and hear it.

    dataset: Dataset; features: (clips, frames, mels) dB of `features.open_store`; config: RunConfig.
    """
    import ipywidgets as widgets

    clips = dataset.clips
    kind = widgets.Dropdown(
        options=[(style.spoken(name), i) for i, name in enumerate(dataset.classes)], description="Class"
    )
    fold = widgets.Dropdown(
        options=[("all", 0), *((str(k), k) for k in sorted(clips["fold"].unique()))], description="Fold"
    )
    clip = widgets.Dropdown(description="Clip", layout={"width": "420px"})
    picture, sound = widgets.HTML(), widgets.HTML()
    shapes = {"mel_hz": figures.mel_centres(), "synthesised": dataset.synthesised}

    def choose(_=None):
        wanted = (clips["class_id"] == kind.value) & ((clips["fold"] == fold.value) | (fold.value == 0))
        rows = clips.index[wanted]
        words = {1: "foreground", 2: "background"}
        clip.unobserve(show, "value")  # new options choose none, then the first: one picture is enough
        clip.options = [
            (f"{clips.file[i]} ({clips.duration[i]:.2f} s, {words[clips.salience[i]]})", i) for i in rows
        ] or [("no clip of this class in this fold", None)]
        clip.index = 0
        clip.observe(show, "value")
        show()

    def show(_=None):
        from esc_utils.features import SAMPLE_RATE, decode

        if clip.value is None:
            picture.value, sound.value = "", ""
            return
        row = clip.value
        waveform = decode(clips.path[row])
        title = f"{clips.class_name[row]}, fold {clips.fold[row]}, {clips.file[row]}"
        picture.value = image(
            figures.clip_view(waveform, SAMPLE_RATE, features[row], title, **shapes), f"Clip {title}"
        )
        sound.value = audio(waveform, SAMPLE_RATE, title)

    kind.observe(choose, "value")
    fold.observe(choose, "value")
    clip.observe(show, "value")
    choose()
    return widgets.VBox([widgets.HBox([kind, fold, clip], layout={"flex_flow": "row wrap"}), sound, picture])


def specaugment_explorer(dataset, features, config):
    """Sliders for width and number of stripes of the weak and the strong view of one clip, and a button to
    draw again.

    Widths are Table 1's W: a stripe is 0 to W - 1 wide. The masked share of the draw stands beside its
    mean."""
    import ipywidgets as widgets
    import torch

    from esc_utils.augment import SpecAugment

    _, frames, mels = features.shape
    first = dataset.clips.groupby("class_id").head(1)
    options = [(style.spoken(name), row) for name, row in zip(first["class_name"], first.index, strict=True)]
    clip = widgets.Dropdown(options=sorted(options), description="Clip of")
    again = widgets.Button(description="Draw again", icon="refresh", tooltip="New stripes for both views")
    limits = {
        "freq_width": (1, mels),
        "freq_stripes": (0, 5),
        "time_width": (1, min(frames, 200)),
        "time_stripes": (0, 5),
    }
    sliders = {
        (view, knob): widgets.IntSlider(
            getattr(config, f"{view}_{knob}"), low, high, description=f"{view}: {knob.replace('_', ' ')}",
                    style=WIDE,
            continuous_update=False,
        )
        for view in ("weak", "strong")
        for knob, (low, high) in limits.items()
    }  # fmt: skip
    picture, words, state, bases = widgets.HTML(), widgets.HTML(), {"seed": 0}, {}

    def base():
        """Axes, labels and colour bar of the clip that is chosen; only stripes change below them."""
        if clip.value not in bases:
            none = np.zeros((1, frames, mels), bool)
            drawn = figures.views(
                features[clip.value], none, none, mel_hz=figures.mel_centres(), of=f"a clip of {clip.label}",
                synthesised=dataset.synthesised,
            )  # fmt: skip
            for words in (text for part in drawn.axes for text in part.texts):
                words.set_text(words.get_text().split(":")[0])  # the share changes with each draw
            bases[clip.value] = Base(drawn, {"clip", "weak0", "strong0"})
        return bases[clip.value]

    def levels(mask=None):
        from matplotlib.colors import to_rgb

        coloured = figures.spectrogram_colours(features[clip.value])
        if mask is not None:
            coloured[mask] = to_rgb(style.MASK)
        return coloured.transpose(1, 0, 2)[::-1]

    def show(_=None):
        random, blank, masks, said = (
            torch.Generator().manual_seed(state["seed"]),
            torch.ones(1, 1, frames, mels),
            {},
            [],
        )
        for view in ("weak", "strong"):
            law = [sliders[view, knob].value for knob in limits]
            augment = SpecAugment(*law)
            masks[view] = (augment(blank, augment.draw(1, frames, mels, random)) == 0)[:, 0].numpy()
            mean = masking.expected_share(*law, frames, mels)
            said.append(f"{view}: {masks[view].mean():.1%} masked in this draw, {mean:.1%} on average")
        words.value = "; ".join(said)
        pictures = {
            "clip": levels(),
            "weak0": levels(masks["weak"][0]),
            "strong0": levels(masks["strong"][0]),
        }
        picture.value = img(base().paint(pictures), f"Weak and strong view: {words.value}", base().width)

    def draw_again(_):
        state["seed"] += 1
        show()

    again.on_click(draw_again)
    for control in (clip, *sliders.values()):
        control.observe(show, "value")
    show()
    columns = [
        widgets.VBox([s for (view, _), s in sliders.items() if view == name]) for name in ("weak", "strong")
    ]
    controls = widgets.HBox(columns, layout={"flex_flow": "row wrap"})
    return widgets.VBox([widgets.HBox([clip, again]), controls, words, picture])
