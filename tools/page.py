"""Rendered notebooks as HTML pages that need nothing else: figures and formulas inside, each with its text
alternative, which plain nbconvert drops.

python tools/page.py NOTEBOOK.ipynb ...            writes NOTEBOOK.html beside each
python tools/page.py --profile P --outputs DIR     of every notebook there
"""

import argparse
import html
import sys
from pathlib import Path

from formulas import pictured
from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from nbformat.reader import NotJSONError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from esc_suite.run.together import exit_with
from esc_utils import paths
from esc_utils.contents import visible
from esc_utils.errors import UserError


class DescribedImages(Preprocessor):
    """Turns every PNG that carries a description, and every formula, into an <img> with alternative text, and
    leaves out the source of cells that JupyterLab folds away."""

    def preprocess_cell(self, cell, resources, index):
        if cell["cell_type"] == "markdown":
            cell["source"] = pictured(cell["source"])
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
    exporter = HTMLExporter(
        embed_images=True, mathjax_url="", require_js_url="", preprocessors=[DescribedImages]
    )
    made, _ = exporter.from_filename(str(notebook))
    path = notebook.with_suffix(".html")
    path.write_text(made, encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--outputs", default="")
    options = parser.parse_args()
    with exit_with():
        folder = paths.place(options.outputs or "outputs") / options.profile
        notebooks = options.notebooks or visible(folder, "*.ipynb")
        if not notebooks:
            raise UserError(
                f"no rendered notebook in {folder}: run make tables PROFILE={options.profile} first"
            )
        for notebook in notebooks:
            try:
                print(page(notebook))
            except (OSError, NotJSONError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(
                    f"no page of {notebook} ({reason}): `make tables` renders the notebooks"
                ) from None


if __name__ == "__main__":
    main()
