"""Pictures and sounds as HTML, each with its text alternative."""

import base64
import io

from esc_suite import figures
from esc_suite.explore.canvas import SCREEN_DPI


def image(figure, alt: str) -> str:
    return img(figures.draw(figure, SCREEN_DPI, small=False), alt, round(figure.get_figwidth() * SCREEN_DPI))


def img(png: bytes, alt: str, width: int) -> str:
    import html

    data = base64.b64encode(png).decode()
    return (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" '
        f'style="width:{width}px;max-width:100%">'
    )


def audio(waveform, rate: int, title: str) -> str:
    import html

    import soundfile

    sound = io.BytesIO()
    soundfile.write(sound, waveform, rate, format="WAV", subtype="PCM_16")
    data = base64.b64encode(sound.getvalue()).decode()
    return f'<audio controls aria-label="{html.escape(title)}" src="data:audio/wav;base64,{data}"></audio>'
