"""The broad corpus and the command that remakes the shipped backbone."""

import json
from pathlib import Path

import numpy as np
import pytest

from esc_utils.standins import corpus, pretrain, sounds, urban

ASSETS = Path(pretrain.__file__).parent / "assets"


def test_corpus_is_a_pure_function_of_its_arguments():
    waves, labels = corpus.render_corpus(8, clip_seconds=0.3, classes=4, seed=3)
    again, _ = corpus.render_corpus(8, clip_seconds=0.3, classes=4, seed=3)
    assert waves.shape == (8, 4800) and waves.dtype == np.float32 and labels.dtype == np.int64
    assert np.array_equal(waves, again)
    assert labels.tolist() == [0, 1, 2, 3] * 2
    assert np.isfinite(waves).all() and (np.abs(waves).max(axis=1) > 0.03).all() and np.abs(waves).max() <= 1
    fewer, _ = corpus.render_corpus(4, clip_seconds=0.3, classes=4, seed=3)
    assert np.array_equal(waves[:4], fewer)
    assert not np.array_equal(waves, corpus.render_corpus(8, clip_seconds=0.3, classes=4, seed=4)[0])


def test_parts_hold_other_recordings_of_the_same_classes():
    first, labels = corpus.render_corpus(4, clip_seconds=0.3, classes=4)
    second, same = corpus.render_corpus(4, clip_seconds=0.3, classes=4, part=1)
    assert np.array_equal(labels, same)
    assert all(abs(np.corrcoef(a, b)[0, 1]) < 0.5 for a, b in zip(first, second, strict=True))


def test_classes_are_regions_inside_their_family_and_none_is_one_of_the_ten():
    own = [{**sounds.DEFAULTS, **layer} for layers in urban.URBAN.values() for layer in layers]
    names = list(corpus.FAMILIES)
    for number in range(70):
        layers = corpus.corpus_class(number, seed=0)
        wide = sounds.DEFAULTS | corpus.FAMILIES[names[number % len(names)]]
        for key, region in layers[0].items():
            if isinstance(region, tuple):
                assert wide[key][0] <= region[0] + 1e-9 and region[1] <= wide[key][1] + 1e-9
                assert np.ptp(region) <= np.ptp(wide[key])
            elif isinstance(region, list):
                assert set(region) <= set(wide[key])
        assert layers[0] not in own
    assert corpus.corpus_class(3, seed=0) == corpus.corpus_class(3, seed=0) != corpus.corpus_class(3, seed=1)


def test_the_command_writes_a_backbone_that_cnn14_loads(tmp_path, capsys):
    """A tiny run of the real command; run twice it makes the same weights."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from esc_utils.model import Cnn14
    from esc_utils.weights import load_pann

    threads = torch.get_num_threads()
    small = [
        "--clips",
        "12",
        "--classes",
        "3",
        "--clip-seconds",
        "0.4",
        "--width",
        "2",
        "--steps",
        "3",
        "--batch",
        "2",
    ]
    for name in ("a", "b"):
        pretrain.main([*small, "--out", str(tmp_path / name)])
    torch.set_num_threads(threads)
    first, second = (load_file(tmp_path / name / "backbone.safetensors") for name in ("a", "b"))
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    assert not any(key.startswith("fc_transfer") for key in first)
    model = load_pann(Cnn14(10, width=2), tmp_path / "a" / "backbone.safetensors")
    assert torch.equal(model.conv_block3.conv1.weight, first["conv_block3.conv1.weight"])
    record = json.loads((tmp_path / "a" / "backbone.json").read_text())
    assert record["command"] == f"python -m esc_utils.standins.pretrain {' '.join(small)}"
    assert "synthesised audio only" in record["what"]
    assert record["held_out_clips"] == 3
    assert "held-out" in capsys.readouterr().out


def test_accuracy_against_counting():
    torch = pytest.importorskip("torch")
    mels = torch.arange(130).float().reshape(-1, 1, 1, 1)
    labels = torch.tensor([0] * 100 + [1] * 30)

    def model(x):  # says 1 from 90 on
        return torch.stack([torch.full((len(x),), 89.5), x[:, 0, 0, 0]], dim=1)

    assert pretrain.accuracy(model, mels, labels) == pytest.approx(100 * 120 / 130)


def test_the_shipped_backbone_fits_its_record():
    pytest.importorskip("torch")
    from esc_utils.model import Cnn14
    from esc_utils.weights import load_pann

    record = json.loads((ASSETS / "backbone.json").read_text())
    path = ASSETS / "backbone.safetensors"
    assert path.stat().st_size < 6 * 2**20
    model = load_pann(Cnn14(10, width=record["width"]), path)
    backbone = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("fc_transfer."))
    assert record["held_out_accuracy"] > 10 * record["chance_accuracy"]
    assert "synthesised audio only" in record["what"]
    assert backbone == record["parameters"]
