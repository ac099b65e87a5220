"""Every knob of a run, checked strictly, and the layering of parameter files (base, profile, experiment, overrides)."""

import difflib
import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import UserError

Fold = Annotated[int, Field(ge=1, le=10)]
Count = Annotated[int, Field(ge=1)]
Stripes = Annotated[int, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

TABLE1_BANDS = 64  # of PANN's front end, for which Table 1 states the widths of frequency stripes
STRIPES = ("freq_width", "freq_stripes", "time_width", "time_stripes")  # SpecAugment of one view

# Where a run reads and writes, and how it is shown: these change no number, so the config hash leaves them out.
PLACES = (
    "profile", "experiment", "data_dir", "outputs", "cache_dir", "weights_path", "seeds", "device",
    "figure_formats", "interactive", "debug",
)  # fmt: skip


class RunConfig(BaseModel):
    """All parameters of one run. `params/base.yaml` holds every value with its unit, source and ledger number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    profile: str
    experiment: str
    method: Literal["supervised", "fixmatch", "control", "probe"]

    dataset: Literal["synthetic", "urbansound8k"]
    data_dir: str
    allow_partial: bool
    synthetic_clips: Count
    synthetic_seed: Annotated[int, Field(ge=0)]
    clip_seconds: Annotated[float, Field(ge=0.31, le=60)]

    train_fold: Fold
    valid_fold: Annotated[int, Field(ge=0, le=10)]
    labelled: Literal["one_fold", "all_but_one"]
    fold_assignment: Literal["official", "by_index"]
    seed: Annotated[int, Field(ge=0)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]

    pretrained: bool
    backbone: Literal["pann", "synthesised", "mn04"]
    weights_path: str
    width: Annotated[int, Field(ge=1, le=64)]
    dropout_block: Annotated[float, Field(ge=0, lt=1)]
    dropout_head: Annotated[float, Field(ge=0, lt=1)]
    head_start: Literal["random", "zero", "logistic"]
    logistic_c: Positive
    backbone_norm: Literal["batch", "stored"]
    norm_statistics: Literal["trained", "clean"]

    epochs: Count
    epoch_of: Literal["labelled", "unlabelled"]
    epoch_scale: Positive
    steps: Annotated[int, Field(ge=0)]
    steps_scale: Literal["run", "labelled_folds"]
    batch_size: Count
    fixmatch_batch_size: Count
    accumulate: Count
    evaluate_every: Count

    optimizer: Literal["adamw", "sgd", "ranger"]
    learning_rate: Positive
    backbone_rate: Share
    weight_decay: Annotated[float, Field(ge=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    schedule: Literal["cosine_restarts", "half_cosine", "cosine_7_16", "constant"]
    restart_every: Count
    warmup: Annotated[float, Field(ge=0, lt=1)]
    clip_gradients: Annotated[float, Field(ge=0)]
    loss_scale: Positive
    ema: Annotated[float, Field(ge=0, lt=1)]

    mixup: bool
    mixup_alpha: Positive
    mixup_pairs: Literal["within", "mixmatch"]

    mu: Count
    lambda_u: Annotated[float, Field(ge=0)]
    tau: Share
    labelled_view: Literal["auto", "strong", "weak"]
    pseudo_mode: Literal["train", "eval", "no_dropout"]
    forward: Literal["separate", "joint"]

    weak_freq_width: Count
    weak_freq_stripes: Stripes
    weak_time_width: Count
    weak_time_stripes: Stripes
    strong_freq_width: Count
    strong_freq_stripes: Stripes
    strong_time_width: Count
    strong_time_stripes: Stripes

    device: str
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    threads: Annotated[int, Field(ge=0, le=1024)]

    outputs: str
    cache_dir: str
    figure_formats: list[Literal["png", "svg", "pdf"]]
    interactive: bool
    debug: bool

    @model_validator(mode="after")
    def _no_contradictions(self):
        if self.validation_fold == self.train_fold:
            raise ValueError(f"valid_fold and train_fold are both {self.train_fold}: validate on another fold")
        if self.method in ("fixmatch", "control") and self.labelled == "all_but_one":
            raise ValueError(f"method: {self.method} needs unlabelled folds, labelled: all_but_one leaves none")
        if self.method == "probe" and not self.pretrained:
            raise ValueError("method: probe needs pretrained: true: a random network has no embeddings worth a probe")
        if self.restart_every > self.epochs:
            raise ValueError(f"restart_every: {self.restart_every} is longer than epochs: {self.epochs}")
        if self.mixup_pairs == "mixmatch" and not (self.mixup and self.method == "fixmatch"):
            raise ValueError("mixup_pairs: mixmatch blends labelled with unlabelled clips: needs fixmatch and mixup: true")
        if self.forward == "joint" and (self.method != "fixmatch" or self.pseudo_mode != "train"):
            raise ValueError("forward: joint needs method: fixmatch and pseudo_mode: train")
        if self.precision == "float16" and self.device == "cpu":
            raise ValueError("precision: float16 needs a CUDA device; use float32 on the CPU")
        return self

    @property
    def validation_fold(self) -> int:
        """Fold that is validated on: (k mod 10) + 1 unless `valid_fold` names one [ledger 16]."""
        return self.valid_fold or self.train_fold % 10 + 1

    @property
    def network(self) -> Literal["cnn14", "mn04"]:
        """Architecture of this run: mn04 where it stands in PANN's place, Cnn14 otherwise."""
        return "mn04" if self.pretrained and self.backbone == "mn04" else "cnn14"

    @property
    def bands(self) -> int:
        """Mel bands of this network's front end."""
        return {"cnn14": TABLE1_BANDS, "mn04": 128}[self.network]

    def stripes(self, view: Literal["weak", "strong"]) -> dict[str, int]:
        """SpecAugment of a view on this network's front end: freq_width (bands), freq_stripes, time_width (frames of
        10 ms), time_stripes. Table 1's frequency widths, and the knobs, are for 64 bands; they are scaled to `bands`."""
        found = {knob: getattr(self, f"{view}_{knob}") for knob in STRIPES}
        return found | {"freq_width": round(found["freq_width"] * self.bands / TABLE1_BANDS)}

    @property
    def label_view(self) -> Literal["strong", "weak"]:
        """Augmentation of labelled clips: strong in supervised runs (section 4.2), weak in FixMatch and its control, as in
        every published FixMatch, unless `labelled_view` names one [ledger 10]."""
        if self.labelled_view != "auto":
            return self.labelled_view
        return "strong" if self.method == "supervised" else "weak"

    @property
    def hash(self) -> str:
        """16 hex digits over everything that can change a number of the run."""
        return digest(self.model_dump(exclude=set(PLACES)))


def digest(value) -> str:
    """16 hex digits that identify a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def project_root() -> Path:
    """Folder that holds params/ and notebooks/: $ESC_ROOT, or the checkout this module lies in."""
    root = Path(os.environ.get("ESC_ROOT") or Path(__file__).resolve().parent.parent)
    if not (root / "params" / "base.yaml").is_file():
        raise UserError(f"no params/base.yaml in {root}: set ESC_ROOT to the folder of the notebook suite")
    return root


def working_root() -> Path:
    """Where results and downloads go: the project, or the current folder where the project is read-only (Kaggle)."""
    root = project_root()
    return root if os.access(root, os.W_OK) else Path.cwd()


def data_folder() -> Path:
    """Where downloads go and are looked for."""
    return working_root() / "data"


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, where YAML would silently take the later line."""

    def compose_mapping_node(self, anchor):
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else key
            if name in seen:
                raise UserError(f"line {key.start_mark.line + 1}: '{name}' stands there a second time: remove one")
            seen.add(name)
        return node


def read_parameters(path: Path) -> dict:
    """One parameter file as a flat dict; UserError names the file where it is missing, not YAML or not flat, or has a key
    twice."""
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
    except Exception as error:  # PyYAML's constructors raise whatever Python does: ValueError, KeyError, RecursionError ...
        raise UserError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{source} must be flat `key: value` lines, one knob a line")
    return values


def merge(layers: list[tuple[str, dict]]) -> RunConfig:
    """Shallow-merge (name, values) layers, later wins, into a checked RunConfig; errors name key and layer."""
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
    return f"{origin[key]}: {key} = {value!r}: {error['msg'].removeprefix('Input ')}{hint}"


def load(paths: list[Path], overrides: dict | None = None) -> RunConfig:
    """Layer parameter files in order, then overrides; later wins. UserError on any unknown, mistyped or bad value."""
    layers = [(str(path), read_parameters(path)) for path in paths]
    return merge([*layers, ("override", overrides or {})])


def layers_of(profile: str, experiment: str) -> list[Path]:
    """The parameter files of a run: base, profile, experiment (or sensitivity) by name, and, where there is one, what this
    experiment alone needs in this profile, params/profiles/<profile>/<experiment>.yaml."""
    params = project_root() / "params"
    found = [params / "base.yaml", _named(params, ["profiles"], "profile", profile)]
    if experiment:
        found.append(_named(params, ["experiments", "sensitivity"], "experiment", experiment))
        found += filter(Path.is_file, [params / "profiles" / profile / f"{experiment}.yaml"])
    return found


def exceptions(profile: str, experiment: str) -> dict:
    """The knobs that one experiment has otherwise than its profile, because its scale cannot bear the common value."""
    own = layers_of(profile, experiment)[3:]
    return {key: value for path in own for key, value in read_parameters(path).items() if key != "experiment"}


def _named(params: Path, folders: list[str], kind: str, name: str) -> Path:
    known = {path.stem: path for folder in folders for path in sorted((params / folder).glob("*.yaml"))}
    if name not in known:
        raise UserError(f"no {kind} '{name}' in params/{' or params/'.join(folders)}: choose from {', '.join(known)}")
    return known[name]


def for_run(profile: str, experiment: str, **overrides) -> RunConfig:
    """Config of one named experiment in one profile, with overrides (train_fold, seed, data_dir, ...)."""
    overrides = {"profile": profile, "experiment": experiment} | overrides
    return load(layers_of(profile, experiment), overrides)


def from_notebook(variables: dict) -> RunConfig:
    """Config from a notebook's `globals()`: the files that its `profile` and `experiment` name, then every
    variable of the notebook that is a knob (its parameters cell, papermill's injected cell, a reader's edit).
    """
    own = {key: variables[key] for key in RunConfig.model_fields if key in variables}
    paths = layers_of(own.get("profile", "quick"), own.get("experiment", ""))
    return merge([(str(path), read_parameters(path)) for path in paths] + [("notebook parameter", own)])


def outputs_folder(config: RunConfig) -> Path:
    """Folder of everything this profile writes: <outputs>/<profile>; `outputs` is taken relative to `working_root`."""
    return (working_root() / (config.outputs or "outputs")) / config.profile


def cache_folder(config: RunConfig) -> Path:
    """Folder of what can be made again (synthesised audio, feature stores), shared by all profiles."""
    if config.cache_dir:
        return working_root() / config.cache_dir
    return (working_root() / (config.outputs or "outputs")) / "cache"
