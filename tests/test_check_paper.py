"""The plan of the paper profile against arithmetic, and the step that proves its scale, at a small size."""

from types import SimpleNamespace

import pytest

from esc_suite.run import check_paper
from esc_suite.run.memory import gradient_clips
from esc_utils import config
from esc_utils.errors import UserError


def test_forward_operations_match_the_sum_over_convolutions():
    width, expected, channels = 4, 0, 1
    for block in range(6):
        out, area = width * 2**block, (501 >> block) * (64 >> block)
        expected += 2 * area * 9 * (channels * out + out * out)
        channels = out
    expected += 2 * channels * (channels + 10)
    assert check_paper.forward_operations(width) == expected


def test_plan_counts_every_run_of_the_tables_once():
    rows = {row.experiment: row for row in check_paper.whole_plan()}
    assert rows["fixmatch_tau075"].runs == rows["pann_100"].runs == 10
    assert rows["cnn14_table2"].runs == 1
    assert rows["cnn14_table2"].steps == rows["fixmatch_tau095"].steps  # ledger 14: Table 2 shares one budget
    knobs = config.for_run("paper", "fixmatch_tau095")
    pool = check_paper.CLIPS - 873 - 888
    assert check_paper.pools(knobs) == (873, pool)
    assert rows["fixmatch_tau095"].steps == 70 * (pool // 224)
    forward = check_paper.forward_operations()
    assert gradient_clips(knobs) == 16 + 112
    scored = 888 * (70 + 1) + pool
    assert check_paper.validated_clips(knobs, 2170) == scored
    assert (
        rows["fixmatch_tau095"].operations
        == (rows["fixmatch_tau095"].steps * (3 * 128 + 224) + scored) * forward
    )


def test_a_measured_step_of_a_narrow_network():
    knobs = config.for_run("paper", check_paper.EXPERIMENT, width=1, fixmatch_batch_size=2, mu=1)
    found = check_paper.measure_step(knobs)
    assert found["clips"] == 4 + 4
    assert 0 < found["loss"] < 100  # finite gradients are checked within
    assert found["peak"] > 1e8


def test_a_step_that_took_too_much_says_what_to_lower(monkeypatch):
    found = {"seconds": 1.0, "loss": 1.0, "peak": 25e9, "clips": 256}
    monkeypatch.setattr(check_paper, "measure_step", lambda knobs: found)
    monkeypatch.setattr(check_paper, "whole_plan", list)
    with pytest.raises(UserError, match="24 GB: lower fixmatch_batch_size or mu"):
        check_paper.report(SimpleNamespace(teraflops=[], plan_only=False))


def test_plan_is_printed_with_what_was_assumed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check_paper", "--plan-only", "--teraflops", "100"])
    check_paper.main()
    text = capsys.readouterr().out
    assert "at 100 TFLOP/s" in text and "nothing was measured on a GPU" in text and "One step" not in text
