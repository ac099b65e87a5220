"""Collect what the repository shows of a finished profile under outputs/evidence/, for its pages.

python tools/evidence.py --profile lite   after `make tables PROFILE=lite`: tables, claims, figures, rendered
                                          notebooks, scores and history of every run; then the pages
    --partial                             not all runs, figures and notebooks are there: what is
python tools/evidence.py --pages          the pages alone, again, from the committed files

Trainings of days go on from the committed records of a profile that keeps predictions, in a checkout of the
commit that made them (its page names it): copy outputs/evidence/<profile>/runs to outputs/<profile>/runs, and
start `make tables` there. What is finished is not trained again. Where the page names several commits, train
what is missing at the newest, a run at a time (README, "One run by hand"), and collect with --partial.
"""

import argparse
import base64
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import evidence_pages as pages  # noqa: E402
from evidence_check import AUDIO, PREDICTIONS, complaints  # noqa: E402
from shown import BEYOND, OURS  # noqa: E402

from esc_suite.records import runs  # noqa: E402
from esc_suite.results import comparison  # noqa: E402
from esc_suite.run import needed_runs  # noqa: E402
from esc_suite.run.together import exit_with  # noqa: E402
from esc_utils.errors import UserError  # noqa: E402

MOST_BYTES = 15_000_000  # of one profile
THUMBNAIL = (300, 220)  # of the gallery, pixels
WIDTH = 700  # most of a picture in a rendered notebook
RUN_FILES = ("metrics.json", "history.csv")


def collect(profile: str, outputs: Path, target: Path, partial: bool = False) -> int:
    """Replace `target` by the evidence of a profile and return its size in bytes. UserError where something
    is missing (`partial`: a table or the claims), still names a place of this machine, holds audio, or is too
    large; then `target` stays as it was."""
    source = outputs / profile
    for name in ("tables/table5.csv", "tables/claims.json"):
        if not (source / name).is_file():
            raise UserError(f"{source / name} is missing: run `make tables PROFILE={profile}` first")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".collecting-") as folder:
        new = Path(folder) / profile
        try:
            _copy(profile, source, new, partial)
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename} is missing: run `make tables PROFILE={profile}` first"
            ) from None
        size = check(new)
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    return size


def _copy(profile: str, source: Path, new: Path, partial: bool) -> None:
    shown, records = pages.SHOWN[profile], {}

    def there(file: str) -> bool:
        optional = partial or Path(file).stem in (*OURS, *needed_runs.BOOKS_BEYOND)
        return not optional or (source / file).is_file()

    numbers = (2, 3, 4, 5, *(n for n in BEYOND if (source / "tables" / f"table{n}.csv").is_file()))
    rows = of_tables(numbers)

    for path in comparison.run_folders(source.parent, profile):
        metrics = runs.read_metrics(path)
        if (metrics["experiment"], metrics["fold"]) in rows:  # those of the sensitivity table are others
            records[f"{path.parent.name}/{path.name}"] = metrics
    clean = cleaner(records.values(), source.parent)
    for number in numbers:
        _write(
            new / f"table{number}.csv",
            clean((source / "tables" / f"table{number}.csv").read_text(encoding="utf-8")),
        )
    _write(new / "claims.json", clean((source / "tables" / "claims.json").read_text(encoding="utf-8")))
    _write(new / "machine.json", json.dumps(machine(), indent=1) + "\n")
    for name, place in shown["figures"].items():
        if not there(f"figures/{place}.png"):
            continue
        (new / "figures").mkdir(exist_ok=True)
        shutil.copy(source / "figures" / f"{place}.png", new / "figures" / f"{name}.png")
        _write(
            new / "figures" / f"{name}.json",
            clean((source / "figures" / f"{place}.json").read_text(encoding="utf-8")),
        )
    for name, (place, picture, *_) in pages.GALLERY.items() if shown["gallery"] else ():
        if not there(f"{place}.ipynb"):
            continue
        text = (source / f"{place}.ipynb").read_text(encoding="utf-8")
        _write(new / "notebooks" / f"{name}.ipynb", notebook(text, clean))
        (new / "gallery").mkdir(exist_ok=True)
        drawn = small((source / "figures" / f"{picture}.png").read_bytes(), *THUMBNAIL)
        (new / "gallery" / f"{name}.png").write_bytes(drawn)
    for name in records:
        for file in RUN_FILES:
            _write(
                new / "runs" / name / file, clean((source / "runs" / name / file).read_text(encoding="utf-8"))
            )
        if shown["predictions"]:
            shutil.copyfile(source / "runs" / name / PREDICTIONS, new / "runs" / name / PREDICTIONS)


def of_tables(numbers) -> set[tuple[str, int]]:
    """(experiment, fold) of every run that rows of these tables are made of."""
    tables = needed_runs.tables(beyond=True)
    return {
        (row.get("experiment"), fold)
        for n in numbers
        for row in tables[n]["rows"]
        for fold in tables[n]["folds"]
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def cleaner(records, outputs: Path):
    """A function that puts DATA, WEIGHTS and the like for every place of this machine that the records or we
    know of."""
    outputs = outputs.resolve()
    places = {str(Path.home()): "~", str(ROOT): ".", str(outputs.parent): ".", str(outputs): "outputs"}
    for record in records:
        made = record["config"]
        for key, word in (
            ("data_dir", "DATA"),
            ("weights_path", "WEIGHTS"),
            ("cache_dir", "CACHE"),
            ("outputs", "outputs"),
        ):
            if os.path.isabs(made[key]):  # noqa: PTH117  (of another machine, perhaps)
                places[made[key].rstrip("/")] = word
    longest = sorted((place for place in places if len(place) > 1), key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(place)}(?![\w-])" for place in longest))
    return lambda text: pattern.sub(lambda found: places[found[0]], text)


def notebook(text: str, clean) -> str:
    """A rendered notebook without places of this machine, papermill's times and players of sounds, its links
    leading from evidence, its pictures small; of the parameters that papermill puts in, those that its own
    first cell names."""
    book = json.loads(text)
    book["metadata"].pop("widgets", None)
    papermill = book["metadata"].get("papermill", {})
    book["metadata"]["papermill"] = {"parameters": papermill.get("parameters", {})}
    own: set[str] = set()
    for cell in book["cells"]:
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        lines, tags = "".join(cell["source"]).splitlines(keepends=True), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "markdown":
            cell["source"] = _relinked("".join(lines)).splitlines(keepends=True)
        elif "parameters" in tags:
            own = {line.split(" = ")[0] for line in lines}
        elif "injected-parameters" in tags:
            cell["source"] = [line for line in lines if line.split(" = ")[0] in own or line.startswith("#")]
        if cell["cell_type"] != "code":
            continue
        cell["outputs"] = [
            output for output in cell.get("outputs", []) if not AUDIO.search(json.dumps(output))
        ]
        for output in cell["outputs"]:
            if drawn := output.get("data", {}).get("image/png"):
                found = small(base64.b64decode("".join(drawn)), WIDTH)
                output["data"]["image/png"] = base64.b64encode(found).decode()
    return clean(json.dumps(book, indent=1, ensure_ascii=False) + "\n")


def small(drawn: bytes, width: int, height: int | None = None) -> bytes:
    """A PNG at most `width` pixels wide, in 256 colours, and of its top no more than `height`."""
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(drawn)).convert("RGB")
    if picture.width > width:
        picture = picture.resize(
            (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
        )
    if height:
        picture = picture.crop((0, 0, picture.width, height)) if picture.height > height else picture
        padded = Image.new("RGB", (width, height), "white")
        padded.paste(picture, (0, (height - picture.height) // 2))
        picture = padded
    made = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        made, "png", optimize=True
    )
    return made.getvalue()


def _relinked(words: str) -> str:
    def moved(found):
        there = (ROOT / "notebooks" / found[1]).resolve()
        start = ROOT / "outputs" / "evidence" / "profile" / "notebooks"
        return f"]({os.path.relpath(there, start)}{found[2] or ''})"

    return re.sub(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)", moved, words)


def machine() -> dict:
    """What kind of machine the evidence was collected on; the runs' own records hold versions, device and
    threads."""
    import torch

    names = []
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = re.findall(r"^model name\s*: (.*)$", info.read_text(encoding="utf-8", errors="replace"), re.M)
    return {
        "architecture": platform.machine(),
        "cpu": names[0] if names else platform.processor() or "unknown",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def check(folder: Path) -> int:
    """Size in bytes of collected evidence; UserError where it is too large, names a place of a machine or
    holds audio."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > MOST_BYTES:
        large = max(files, key=lambda path: path.stat().st_size).relative_to(folder)
        raise UserError(
            f"evidence of {size / 1e6:.1f} MB, the most is {MOST_BYTES / 1e6:.0f} MB (largest: {large})"
        )
    for path in files:
        for reason in complaints(path):
            raise UserError(f"{path.relative_to(folder)}: {reason}")
    return size


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="quick", choices=sorted(pages.SHOWN))
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs")
    parser.add_argument("--partial", action="store_true", help="not all is there: collect what is")
    parser.add_argument("--pages", action="store_true", help="write the pages again, collect nothing")
    options = parser.parse_args(argv)
    with exit_with():
        if not options.pages:
            target = pages.EVIDENCE / options.profile
            size = collect(options.profile, options.outputs, target, options.partial)
            print(f"{pages.EVIDENCE.relative_to(ROOT) / options.profile}: {size / 1e6:.1f} MB")
        for path in pages.write():
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
