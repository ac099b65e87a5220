"""Rendered notebooks as HTML pages that need nothing else: figures inside, each with its text alternative.

python tools/page.py NOTEBOOK.ipynb ...     writes NOTEBOOK.html beside each; plain nbconvert drops the alternatives
"""

import html
import sys
from pathlib import Path

from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from nbformat.reader import NotJSONError


class DescribedImages(Preprocessor):
    """Turns every PNG that carries a description into an <img> with that as its alt text, and leaves out the source of cells
    that JupyterLab folds away."""

    def preprocess_cell(self, cell, resources, index):
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["transient"] = {"remove_source": True}
        for output in cell.get("outputs", []):
            about = output.get("metadata", {}).get("image/png", {})
            if "alt" in about:
                data = "".join(output["data"]["image/png"].split())
                size = f' width="{about["width"]}"' if "width" in about else ""
                image = f'<img src="data:image/png;base64,{data}" alt="{html.escape(about["alt"])}"{size}>'
                output["data"] = {"text/html": image}
        return cell, resources


def page(notebook: Path) -> Path:
    """Write <notebook>.html; its path."""
    exporter = HTMLExporter(embed_images=True, mathjax_url="", require_js_url="", preprocessors=[DescribedImages])
    made, _ = exporter.from_filename(str(notebook))
    path = notebook.with_suffix(".html")
    path.write_text(made, encoding="utf-8")
    return path


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            print(page(Path(name)))
        except (OSError, NotJSONError) as error:
            sys.exit(f"error: no page of {name} ({' '.join(str(error).split())[:200]}): `make tables` renders the notebooks")
