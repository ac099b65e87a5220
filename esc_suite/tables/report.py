"""One offline page with the outcome, tables, claims, figures and runs of a profile: `python -m esc_suite
report`.

The page is small, for it holds the figures as thumbnails and links to those that lie beside it."""

import argparse
import base64
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

from esc_suite.records import provenance, runs
from esc_suite.results import comparison
from esc_suite.results.spec import read_spec
from esc_suite.run import needed_runs
from esc_suite.run.together import exit_with
from esc_suite.tables import claims
from esc_suite.tables import rows as tables
from esc_suite.tables.render import environment
from esc_suite.tables.view import lettered, notes_of, readable
from esc_suite.tables.write import add_places
from esc_utils import config, paths
from esc_utils.contents import visible
from esc_utils.errors import UserError

PICTURE = "tables_forest"  # of notebook 06: the page opens with it
WIDE, NARROW = 760, 480  # of that picture and of the other figures as they stand in the page, pixels


def stale_reasons(
    run: runs.Run,
    current_code_hash: str,
    current_config_hash: str | None,
    current_fingerprint: str | None = None,
) -> list[str]:
    """Why a run no longer is what the parameters, the code and the dataset of today would give; [] if it
    still is.

    current_config_hash None: the experiment is no longer there; current_fingerprint None: the dataset is not
    at hand, so it is not checked."""
    made = run.metrics["provenance"]
    reasons = []
    if current_config_hash is None:
        reasons.append(f"parameters: experiment {run.metrics['experiment']} is no longer in params/")
    elif made["config_hash"] != current_config_hash:
        reasons.append("parameters have changed since")
    if made["code_hash"] != current_code_hash:
        reasons.append("the method's code has changed since")
    if current_fingerprint is not None and made["dataset_fingerprint"] != current_fingerprint:
        reasons.append("the dataset has changed since")
    return reasons


def current_config(run: runs.Run) -> config.RunConfig | None:
    """Config that today's parameter files give for this run; None where they no longer do."""
    made = run.metrics["config"]
    places = {key: made[key] for key in ("train_fold", "valid_fold", "seed", "data_dir") if key in made}
    try:
        return config.for_run(run.metrics["profile"], run.metrics["experiment"], **places)
    except UserError:
        return None


def current_fingerprint(found: config.RunConfig | None, known: dict) -> str | None:
    """Fingerprint of the dataset on disk; None where it is not at hand, and for the synthesised one, which
    code and parameters determine. `known` keeps what has been looked up, by place."""
    from esc_suite.inputs import open_dataset

    if found is None or found.dataset == "synthetic":
        return None
    place = found.data_dir, found.allow_partial
    if place not in known:
        try:
            known[place] = open_dataset(found).fingerprint
        except UserError:
            known[place] = None
    return known[place]


def changed_knobs(run: runs.Run, now: config.RunConfig | None) -> str:
    """Which knobs changed, "tau 0.75 -> 0.8", for the banner; "" where none did or cannot be told."""
    if now is None:
        return ""
    today, made = now.model_dump(exclude=set(config.PLACES)), run.metrics["config"]
    return ", ".join(f"{k} {made.get(k)} -> {v}" for k, v in today.items() if made.get(k) != v)


def collect(outputs: Path, profile: str) -> dict:
    """Everything the page shows. Tables and claims are computed from the run records, so they cannot be older
    than those. UserError for an unknown profile, no finished run, a damaged record or a damaged figure."""
    config.layers_of(profile, "")
    root = outputs / profile
    spec, results = read_spec(), comparison.read_results(outputs, profile)
    if not results.found:
        raise UserError(f"no finished run under {root / 'runs'}: run `make tables PROFILE={profile}` first")
    built = {name: tables.build(spec, results, name, profile) for name in tables.NAMES}
    views = lettered([readable(spec, name, rows, profile) for name, rows in built.items()])
    verdicts = claims.decide(spec, results)
    every = [run for folds in results.found.values() for seeds in folds.values() for run in seeds.values()]
    every.sort(key=lambda run: (run.metrics["experiment"], run.metrics["fold"], run.metrics["seed"]))
    code, known, stale = provenance.code_hash(), {}, {}
    groups: dict[str, list] = {}
    for run in every:
        now = current_config(run)
        reasons = stale_reasons(run, code, now.hash if now else None, current_fingerprint(now, known))
        changes = changed_knobs(run, now) if "parameters have changed since" in reasons else ""
        for reason in reasons:
            detail = f"{reason} ({changes})" if changes and reason.startswith("parameters have") else reason
            stale.setdefault(detail, []).append(run.name)
        groups.setdefault(run.metrics["experiment"], []).append(_run_view(run, root))
    folder = root / "figures"
    own = {path for group in groups.values() for view in group for path in view["paths"]}
    figures = [figure(path, folder) for path in visible(folder, "*.png") if path not in own]
    for shown in figures:
        made = shown["provenance"].get("code_hash")
        if made and made != code:
            stale.setdefault("the method's code has changed since", []).append(f"figure {shown['name']}")
    return {
        "profile": profile,
        "synthesised": any(run.metrics["synthesised"] for run in every),
        "networks": sorted({comparison.network_name(run) for run in every}),
        "devices": sorted({run.metrics["provenance"]["device"] for run in every}),
        "count": len(every),
        "stale": [(reason, _few(names)) for reason, names in stale.items()],
        "outcome": claims.outcome(results, built, verdicts),
        "opening": next((shown for shown in figures if shown["name"] == PICTURE), None),
        "reading": next(view["reading"] for view in views if view["reading"]),
        "notes": notes_of(views),
        "views": [(view, _there(root / "tables", view["name"])) for view in views],
        "claims": verdicts,
        "could_be_decided": claims.summary(verdicts),
        "figures": [shown for shown in figures if shown["name"] != PICTURE],
        "groups": groups,
        "notebooks": _notebooks(root / "notebooks", "../notebooks"),
    }


def _few(names: list[str], most: int = 4) -> str:
    return "; ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _there(folder: Path, name: str) -> list[str]:
    """Links to the files of one table that lie beside the report."""
    return [
        f"../tables/{name}.{end}" for end in ("csv", "md", "html") if (folder / f"{name}.{end}").is_file()
    ]


def _notebooks(folder: Path, link: str) -> list[tuple[str, list[str]]]:
    """(name, links) of each rendered notebook of a folder, HTML copies included."""
    names = sorted({path.stem for end in ("ipynb", "html") for path in folder.glob(f"[!.]*.{end}")})
    names = [name for name in names if not name.endswith(".running")]
    ends = ("html", "ipynb")
    return [
        (name, [f"{link}/{name}.{end}" for end in ends if (folder / f"{name}.{end}").is_file()])
        for name in names
    ]


def _run_view(run: runs.Run, root: Path) -> dict:
    """What the page shows of one run."""
    metrics, settings = run.metrics, SimpleNamespace(**run.metrics["config"])
    place = f"{metrics['experiment']}/{run.folder.name}"
    folder = root / "figures" / place
    paths = visible(folder, "*.png")
    links = [link for _, found in _notebooks(run.folder, f"../runs/{place}") for link in found]
    links += [
        f"../runs/{place}/{name}"
        for name in ("metrics.json", "history.csv", "log.txt")
        if (run.folder / name).is_file()
    ]
    try:
        how = needed_runs.command(settings, needed_runs.notebook_of(settings), of_run=True)
    except UserError as error:  # the experiment's parameter file is gone
        how = str(error)
    return {
        "metrics": metrics,
        "name": run.name,
        "network": comparison.network_name(run)
        + (" (in place of PANN)" if comparison.stands_in(run) else ""),
        "links": links,
        "command": how,
        "provenance": provenance_words(metrics["provenance"]),
        "paths": paths,
        "figures": [(path.stem.replace("_", " "), f"../figures/{place}/{path.name}") for path in paths],
    }


def provenance_words(made: dict) -> dict[str, str]:
    """Provenance as words to show: {name: text}, versions joined, hashes shortened."""
    words = {}
    for key, value in made.items():
        if key in ("identity", "dirty"):
            continue
        if key == "commit":
            value = str(value)[:12] + (" and uncommitted changes" if made.get("dirty") else "")
        elif isinstance(value, dict):
            value = ", ".join(f"{name} {text}" for name, text in value.items()) or "nothing"
        words[key.replace("_", " ")] = str(value)
    return words


def figure(path: Path, folder: Path) -> dict:
    """A PNG with its description from <name>.json beside it: name, link, thumbnail (as a data address),
    width, height, alt, caption, command, provenance. Without a description the alt text is the name.
    UserError where either is damaged."""
    name = path.relative_to(folder).with_suffix("").as_posix()
    try:
        sidecar = path.with_suffix(".json")
        about = json.loads(sidecar.read_text(encoding="utf-8")) if sidecar.is_file() else {}
        if not isinstance(about, dict):
            raise ValueError("no description")
        data, width, height = thumbnail(path, WIDE if name == PICTURE else NARROW)
    except (OSError, ValueError) as error:
        raise UserError(
            f"figure {path} is damaged ({error}): delete it and render its notebook again"
        ) from None
    return {
        "name": name,
        "link": f"../figures/{name}.png",
        "data": data,
        "width": width,
        "height": height,
        "alt": about.get("alt") or name.replace("_", " "),
        "caption": about.get("caption", ""),
        "command": about.get("command", ""),
        "provenance": about.get("provenance") or {},
        "words": provenance_words(about.get("provenance") or {}),
    }


def thumbnail(path: Path, width: int) -> tuple[str, int, int]:
    """A picture at most `width` pixels wide, as a WebP in a data address, with its size."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    small.save(made, "webp", quality=75, method=4)
    return f"data:image/webp;base64,{base64.b64encode(made.getvalue()).decode()}", *small.size


def write(outputs: Path, profile: str) -> Path:
    """Write outputs/<profile>/report/index.html and return its path."""
    from esc_utils.files import write_atomic

    page = environment().get_template("report.html.j2").render(**collect(outputs, profile))
    path = outputs / profile / "report" / "index.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {path.parent} ({error.strerror}): set outputs to a folder of yours"
        ) from None
    write_atomic(path, page.encode())
    return path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_suite report", description=__doc__)
    add_places(parser)
    args = parser.parse_args(argv)
    with exit_with():
        print(write(paths.place(args.outputs or "outputs"), args.profile))
    return 0


if __name__ == "__main__":
    sys.exit(main())
