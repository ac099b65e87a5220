"""Parameter files layered into a RunConfig: base, profile, experiment, then what is given by hand."""

import difflib
import os
import re
from pathlib import Path

import yaml
from pydantic import ValidationError

from .errors import UserError
from .knobs import PLACES, TABLE1_BANDS, RunConfig, digest
from .paths import project_root

__all__ = ["PLACES", "TABLE1_BANDS", "RunConfig", "digest"]


class _OnceLoader(yaml.SafeLoader):
    """Refuses what YAML would silently read otherwise than it looks: a key that stands twice (the later
    line), and whole numbers such as 010 (8) or 1:30 (90)."""

    def compose_mapping_node(self, anchor):
        node, seen = super().compose_mapping_node(anchor), set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else key
            if name in seen:
                line = key.start_mark.line + 1
                raise UserError(f"line {line}: '{name}' stands there a second time: remove one")
            seen.add(name)
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if one.tag.endswith(":int") and not re.fullmatch("[-+]?(0|[1-9][0-9]*)", one.value):
                    found = f"{name}: {one.value} is {self.construct_yaml_int(one)} in YAML"
                    remedy = "a number in plain digits, a text in quotes (for papermill, -r instead of -p)"
                    raise UserError(f"line {one.start_mark.line + 1}: {found}: write {remedy}")
        return node


def read_parameters(path: Path) -> dict:
    """One parameter file as a flat dict; UserError names the file where it is missing, not YAML or not flat,
    or has a key twice."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"parameter file {path} cannot be read ({error.strerror}): check the name") from None
    return parse_parameters(content, f"parameter file {path}")


def parse_parameters(content: str | bytes, source: str) -> dict:
    """YAML as a flat dict; `source` names it in a UserError."""
    try:
        values = yaml.load(content.decode("utf-8") if isinstance(content, bytes) else content, _OnceLoader)
    except UserError as error:
        raise UserError(f"{source}, {error}") from None
    except Exception as error:  # PyYAML's constructors raise whatever Python does, as RecursionError
        raise UserError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{source} must be flat `key: value` lines, one knob a line")
    return values


def merge(layers: list[tuple[str, dict]]) -> RunConfig:
    """Shallow-merge (name, values) layers, later wins, into a RunConfig; errors name key and layer."""
    values, origin = {}, {}
    for name, layer in layers:
        values |= layer
        origin |= dict.fromkeys(layer, name)
    try:
        return RunConfig(**values)
    except ValidationError as error:
        raise UserError("; ".join(_explain(e, origin) for e in error.errors())) from None


def _explain(error: dict, origin: dict) -> str:
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, RunConfig.model_fields, n=1)
        hint = f", did you mean '{close[0]}'?" if close else ", params/base.yaml lists all that exist"
        return f"{origin[key]}: unknown parameter '{key}'{hint}"
    if error["type"] == "missing":
        return f"parameter '{key}' is missing: start the layers with params/base.yaml"
    value = error["input"]
    hint = ""
    if isinstance(value, str) and error["type"].startswith(("float", "int")):
        hint = " (YAML read it as text: write 1.0e-4 with the dot, no quotes)"
    elif error["type"] == "string_type":
        hint = f" (write it in quotes, as in {key}: '2024_01'; for papermill, -r instead of -p)"
    return f"{origin[key]}: {key} = {value!r}: {error['msg'].removeprefix('Input ')}{hint}"


def from_files(paths: list[Path], overrides: dict | None = None) -> RunConfig:
    """Layer parameter files in order, then overrides; later wins. UserError on any unknown or bad value."""
    layers = [(str(path), read_parameters(path)) for path in paths]
    return merge([*layers, ("override", overrides or {})])


def layers_of(profile: str, experiment: str) -> list[Path]:
    """The parameter files of a run: base, profile, experiment (or sensitivity) by name, and, where there is
    one, what this experiment alone needs in this profile, params/profiles/<profile>/<experiment>.yaml."""
    params = project_root() / "params"
    found = [params / "base.yaml", _named(params, ["profiles"], "profile", profile)]
    if experiment:
        found.append(_named(params, ["experiments", "sensitivity"], "experiment", experiment))
        found += filter(Path.is_file, [params / "profiles" / profile / f"{experiment}.yaml"])
    return found


def _named(params: Path, folders: list[str], kind: str, name: str) -> Path:
    known = {path.stem: path for folder in folders for path in sorted((params / folder).glob("[!.]*.yaml"))}
    if name not in known:
        where = " or params/".join(folders)
        raise UserError(f"no {kind} {name!r} in params/{where}: choose from {', '.join(known)}")
    return known[name]


def for_run(profile: str, experiment: str, **overrides) -> RunConfig:
    """Config of one named experiment in one profile, with overrides (train_fold, seed, data_dir, ...)."""
    overrides = {"profile": profile, "experiment": experiment} | overrides
    return from_files(layers_of(profile, experiment), overrides)


def require_own_checkout() -> None:
    """UserError where the current folder lies in another checkout than the one whose code runs, as after
    copying one with its environment."""
    root = project_root()
    for folder in () if "ESC_ROOT" in os.environ else (Path.cwd(), *Path.cwd().parents):
        checkout = (folder / "params" / "base.yaml").is_file() and (folder / "esc_utils").is_dir()
        if checkout and not folder.samefile(root):
            raise UserError(
                f"{folder} is another checkout than {root}, whose code runs: `make install` there, then start"
            )


def from_notebook(variables: dict) -> RunConfig:
    """Config from a notebook's `globals()`: the files that its `profile` and `experiment` name, then every
    variable of the notebook that is a knob (its parameters cell, papermill's injected cell, a reader's edit).
    """
    require_own_checkout()
    own = {key: variables[key] for key in RunConfig.model_fields if key in variables}
    paths = layers_of(own.get("profile", "quick"), own.get("experiment", ""))
    return merge([(str(path), read_parameters(path)) for path in paths] + [("notebook parameter", own)])
