import re
from pathlib import Path

import pytest
import yaml

from esc_suite.tables import rows
from esc_utils import config
from esc_utils.config import PLACES, RunConfig
from esc_utils.errors import UserError

PARAMS = Path(__file__).parent.parent / "params"
EXPERIMENTS = sorted(
    path.stem for folder in ("experiments", "sensitivity") for path in (PARAMS / folder).glob("*.yaml")
)


def test_base_holds_every_knob_and_nothing_else():
    assert set(config.read_parameters(PARAMS / "base.yaml")) == set(RunConfig.model_fields)


def test_each_knob_of_base_has_a_comment():
    lines = (PARAMS / "base.yaml").read_text().splitlines()
    bare = [line for line in lines if re.match(r"^\w+:", line) and "#" not in line]
    explained_by_the_line_above = {
        "seed: 0",
        "epochs: 70",
        "learning_rate: 5.0e-4",
        "synthetic_seed: 0",
        "mixup: true",
    }
    stripes = [line for line in bare if re.match(r"(weak|strong)_", line)]
    assert set(bare) - set(stripes) == explained_by_the_line_above


@pytest.mark.parametrize("profile", ["quick", "lite", "paper"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_valid_in_every_profile(profile, experiment):
    assert config.for_run(profile, experiment).experiment == experiment


def test_experiments_hold_only_what_differs_from_base():
    base = config.read_parameters(PARAMS / "base.yaml")
    for path in (PARAMS / "experiments").glob("*.yaml"):
        values = config.read_parameters(path)
        same = [key for key, value in values.items() if base[key] == value and key != "experiment"]
        assert not same, f"{path.name} repeats base.yaml: {same}"


def test_profiles_change_scale_not_method():
    method = {
        "method", "tau", "lambda_u", "optimizer", "learning_rate", "weight_decay", "mixup", "mixup_alpha",
        "labelled_view",
        "pseudo_mode", "forward", "ema", "labelled", "fold_assignment", "loss_scale", "accumulate",
    }  # fmt: skip
    for path in (PARAMS / "profiles").rglob("*.yaml"):
        assert not method & set(config.read_parameters(path)), path.name


def test_an_experiment_may_need_its_own_value_in_one_profile():
    for path in (PARAMS / "profiles").glob("*/*.yaml"):
        profile, experiment = path.parent.name, path.stem
        assert config.layers_of(profile, experiment)[-1] == path
        found, plain = (
            config.for_run(profile, experiment),
            config.from_files(config.layers_of(profile, experiment)[:3]),
        )
        own = rows.exceptions(profile, experiment)
        assert own and all(getattr(found, key) == value != getattr(plain, key) for key, value in own.items())
    assert rows.exceptions("paper", "fixmatch_tau075_sgd") == rows.exceptions("lite", "") == {}


def test_later_layers_win(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("tau: 0.5\nmu: 3\n")
    two.write_text("tau: 0.6\n")
    merged = config.from_files([PARAMS / "base.yaml", one, two], {"mu": 5})
    assert (merged.tau, merged.mu) == (0.6, 5)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"tua": 0.7}, ["tua", "did you mean 'tau'"]),
        ({"zzz": 1}, ["zzz", "params/base.yaml"]),
        ({"learning_rate": "1e-4"}, ["learning_rate", "1.0e-4"]),
        ({"tau": 1.5}, ["tau", "1.5"]),
        ({"train_fold": 11}, ["train_fold", "11"]),
        ({"width": 8.0}, ["width"]),
        ({"mixup": "yes"}, ["mixup"]),
        ({"mu": 10**9}, ["mu", "4096"]),
        ({"batch_size": 100_000}, ["batch_size", "4096"]),
        ({"epochs": 10**9}, ["epochs", "1000000"]),
        ({"valid_fold": 1}, ["valid_fold", "train_fold"]),
        ({"method": "fixmatch", "labelled": "all_but_one"}, ["unlabelled"]),
        ({"restart_every": 400}, ["restart_every", "epochs"]),
        ({"mixup_pairs": "crossed"}, ["crossed"]),
        ({"precision": "float16", "device": "cpu"}, ["float16"]),
    ],
)
def test_bad_values_are_one_line_that_names_key_and_remedy(override, words):
    with pytest.raises(UserError) as error:
        config.for_run("paper", "pann_10", **override)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_layer_is_named(tmp_path):
    bad = tmp_path / "mine.yaml"
    bad.write_text("tau: high\n")
    with pytest.raises(UserError, match=r"mine\.yaml: tau"):
        config.from_files([PARAMS / "base.yaml", bad])


def test_yaml_reads_1e_4_as_text():
    assert yaml.safe_load("a: 1e-4")["a"] == "1e-4"  # why base.yaml writes the dot


def test_hash_ignores_places_and_sees_method():
    one = config.for_run("quick", "fixmatch_tau075")
    assert (
        one.hash == config.for_run("quick", "fixmatch_tau075", outputs="x", cache_dir="y", data_dir="z").hash
    )
    assert one.hash != config.for_run("quick", "fixmatch_tau085").hash
    assert one.hash != config.for_run("quick", "fixmatch_tau075", train_fold=2).hash
    assert set(PLACES) <= set(RunConfig.model_fields)


@pytest.mark.parametrize(("fold", "valid"), [(1, 2), (2, 3), (9, 10), (10, 1)])
def test_validation_fold_follows_training_fold(fold, valid):
    assert config.for_run("paper", "pann_10", train_fold=fold).validation_fold == valid


def test_notebook_variables_win_over_files():
    variables = {"profile": "quick", "experiment": "fixmatch_tau075", "tau": 0.33, "np": object(), "_": 1}
    found = config.from_notebook(variables)
    assert (found.tau, found.width) == (0.33, config.for_run("quick", "fixmatch_tau075").width)
