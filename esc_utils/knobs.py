"""RunConfig: every knob of a run, checked strictly. `params/base.yaml` says what each one means."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fold = Annotated[int, Field(ge=1, le=10)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Batch = Annotated[int, Field(ge=1, le=4096)]  # more fits no memory
Stripes = Annotated[int, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

TABLE1_BANDS = 64  # of PANN's front end, for which Table 1 states the widths of frequency stripes
STRIPES = ("freq_width", "freq_stripes", "time_width", "time_stripes")  # SpecAugment of one view

# Where a run reads and writes, where it runs and how it is shown. The config hash leaves them out: what lies
# in data_dir and weights_path has digests of its own in a run's identity, and a device is no other setting.
PLACES = (
    "profile", "experiment", "data_dir", "outputs", "cache_dir", "weights_path", "seeds", "device",
    "figure_formats", "interactive", "debug",
)  # fmt: skip


class RunConfig(BaseModel):
    """All parameters of one run. `params/base.yaml` says unit, source and ledger number of each."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    profile: str
    experiment: str
    method: Literal["supervised", "fixmatch", "control", "probe"]

    dataset: Literal["synthetic", "urbansound8k", "table"]
    data_dir: str
    allow_partial: bool
    synthetic_clips: Count
    synthetic_seed: Annotated[int, Field(ge=0)]
    clip_seconds: Annotated[float, Field(ge=0.31, le=60)]

    train_fold: Fold
    valid_fold: Annotated[int, Field(ge=0, le=10)]
    labelled: Literal["one_fold", "all_but_one"]
    labels_per_class: Annotated[int, Field(ge=0)]
    fold_assignment: Literal["official", "by_index"]
    unknown_classes: Annotated[int, Field(ge=0, le=8)]
    unknown_seed: Annotated[int, Field(ge=0)]
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
    norm_statistics: Literal["trained", "clean"]

    epochs: Count
    epoch_of: Literal["labelled", "unlabelled"]
    steps: Annotated[int, Field(ge=0, le=10_000_000)]
    steps_scale: Literal["run", "labelled_folds"]
    batch_size: Batch
    fixmatch_batch_size: Batch
    accumulate: Batch
    evaluate_every: Count

    optimizer: Literal["adamw", "sgd", "ranger"]
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    schedule: Literal["cosine_restarts", "half_cosine", "cosine_7_16"]
    restart_every: Count
    warmup: Annotated[float, Field(ge=0, lt=1)]
    loss_scale: Positive
    ema: Annotated[float, Field(ge=0, lt=1)]

    mixup: bool
    mixup_alpha: Positive
    mixup_pairs: Literal["within", "mixmatch"]

    mu: Batch
    lambda_u: Annotated[float, Field(ge=0)]
    tau: Share
    threshold: Literal["fixed", "flexmatch", "freematch", "softmatch"]
    threshold_ema: Annotated[float, Field(ge=0, lt=1)]
    lambda_f: Annotated[float, Field(ge=0)]
    open_set: Literal["none", "openmatch"]
    open_warmup: Share
    lambda_oem: Annotated[float, Field(ge=0)]
    lambda_socr: Annotated[float, Field(ge=0)]
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
        table, fixmatch = self.dataset == "table", self.method == "fixmatch"
        none_left = self.labelled == "all_but_one" and self.method in ("fixmatch", "control") and not table
        mixed, plain = self.mixup and fixmatch, (self.forward, self.mixup_pairs) == ("separate", "within")
        for wrong, why in (
            (self.validation_fold == self.train_fold,
             f"valid_fold and train_fold are both {self.train_fold}: validate on another fold"),
            (none_left, f"method: {self.method} needs unlabelled folds, labelled: all_but_one leaves none"),
            (self.method == "probe" and not self.pretrained,
             "method: probe needs pretrained: true: a random network has no embeddings worth a probe"),
            (table and self.fold_assignment != "official",
             "fold_assignment: by_index is about UrbanSound8K: a table has its own folds, or gets them"),
            (self.restart_every > self.epochs,
             f"restart_every: {self.restart_every} is longer than epochs: {self.epochs}"),
            (self.mixup_pairs == "mixmatch" and not mixed,
             "mixup_pairs: mixmatch blends labelled with unlabelled clips: needs fixmatch and mixup: true"),
            (self.forward == "joint" and not (fixmatch and self.pseudo_mode == "train"),
             "forward: joint needs method: fixmatch and pseudo_mode: train"),
            (self.threshold != "fixed" and not (fixmatch and plain),
             f"threshold: {self.threshold} needs method: fixmatch, forward: separate, mixup_pairs: within"),
            (self.open_set != "none" and not
             (fixmatch and plain and (self.threshold, self.pseudo_mode) == ("fixed", "train")),
             "open_set: openmatch needs method: fixmatch, and threshold, forward, mixup_pairs, pseudo_mode "
             "as in base.yaml"),
            (self.unknown_classes and table, "unknown_classes: a table's own classes are all known"),
            (self.precision == "float16" and self.device == "cpu",
             "precision: float16 needs a CUDA device; use float32 on the CPU"),
        ):  # fmt: skip
            if wrong:
                raise ValueError(why)
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
        """SpecAugment of a view on this network's front end: freq_width (bands), freq_stripes, time_width
        (frames of 10 ms), time_stripes. Table 1's frequency widths, and the knobs, are for 64 bands; they are
        scaled to `bands`."""
        found = {knob: getattr(self, f"{view}_{knob}") for knob in STRIPES}
        return found | {"freq_width": round(found["freq_width"] * self.bands / TABLE1_BANDS)}

    @property
    def label_view(self) -> Literal["strong", "weak"]:
        """Augmentation of labelled clips: strong in supervised runs (section 4.2), weak in FixMatch and its
        control, as in every published FixMatch, unless `labelled_view` names one [ledger 10]."""
        if self.labelled_view != "auto":
            return self.labelled_view
        return "strong" if self.method == "supervised" else "weak"

    @property
    def hash(self) -> str:
        """16 hex digits over every knob but PLACES."""
        return digest(self.model_dump(exclude=set(PLACES)))


def digest(value) -> str:
    """16 hex digits that identify a JSON-serialisable value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
