"""LaTeX of Markdown cells as pictures, for pages that load no MathJax: matplotlib sets it, its source is the
alternative."""

import base64
import html
import io
import re

# Fenced blocks and code spans, in which a dollar is a dollar; then $$displayed$$ and $inline$.
PARTS = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|\$\$(?P<displayed>.+?)\$\$|\$(?P<inline>[^\s$](?:(?:[^$\n]|\n(?!\s*\n))*[^\s$])?)\$",
    re.S,
)
SIZE = 12  # of the letters, points


def pictured(markdown: str) -> str:
    """Markdown with each formula as an <img>; one that matplotlib cannot set stays as it is."""
    return PARTS.sub(_replaced, markdown)


def _replaced(found: re.Match) -> str:
    if found["code"]:
        return found[0]
    tex = " ".join((found["inline"] or found["displayed"]).split())
    bare, tag = re.sub(r"\\tag\{[^}]*\}", "", tex).strip(), re.search(r"\\tag\{([^}]*)\}", tex)
    try:
        shown = _image(bare)
    except ValueError:
        return found[0]
    if found["inline"]:
        return shown
    return f'<p style="text-align: center">{shown}{f"&emsp;({tag[1]})" if tag else ""}</p>'


def _image(tex: str) -> str:
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser, math_to_image

    font, drawn = FontProperties(size=SIZE, math_fontfamily="stix"), io.BytesIO()
    known = re.sub(r"\\([gl]e)(?![a-zA-Z])", r"\\\1q", tex)  # matplotlib has the long names alone
    _, height, depth, *_ = MathTextParser("path").parse(f"${known}$", dpi=72, prop=font)
    math_to_image(f"${known}$", drawn, prop=font, format="svg")
    style = f"height: {height:.1f}pt; vertical-align: -{depth:.1f}pt; display: inline"
    data = base64.b64encode(drawn.getvalue()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{html.escape(tex)}" style="{style}">'
