"""The benchmarks run, at tiny size, and compare like with like. Nothing here looks at how fast anything
is."""

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tools" / "bench"))
import accelerator
import bench
import floor
import growth
import one_run
import peak
import schedule
import sides
import startup
import timing
from growth_figure import growth_figure

from esc_suite.run import check_paper, memory
from esc_utils.errors import UserError

TINY = {"clip_seconds": 0.64, "fixmatch_batch_size": 2, "batch_size": 2, "mu": 1}
CPU = torch.device("cpu")
linux = pytest.mark.skipif(not peak.available(), reason=peak.MISSING)


@pytest.fixture
def in_process(monkeypatch):
    """What would get a process of its own runs in this one: quicker."""

    def call(module, function, **values):
        return getattr(importlib.import_module(module), function)(**values)

    monkeypatch.setattr(peak, "fresh", call)


@pytest.mark.parametrize("network", ["cnn14", "mn04"])
@pytest.mark.parametrize("method", ["supervised", "fixmatch"])
def test_reference_has_the_same_loss_and_both_sides_train(method, network):
    knobs = sides.knobs_of(method, 1, **TINY | ({"backbone": "mn04"} if network == "mn04" else {}))
    assert sides.difference(knobs) < 1e-5, "else the ratios would mean nothing"
    pool = sides.Pool(knobs)
    for side in (sides.Ours(knobs, pool), sides.Plain(knobs, pool)):
        before = {name: value.clone() for name, value in side.model.named_parameters()}
        side.train(2)
        moved = {name for name, value in side.model.named_parameters() if not value.equal(before[name])}
        first = "conv_block1.conv1.weight" if network == "cnn14" else "features.0.0.weight"
        last = "fc_transfer.weight"
        assert all(any(name.endswith(end) for name in moved) for end in (first, last))


def test_every_step_has_draws_of_its_own():
    knobs = sides.knobs_of("fixmatch", 1, **TINY)
    side = sides.Ours(knobs, sides.Pool(knobs, 32))
    rows = [tuple(draw.labelled.tolist()) for draw in [*side.draws(2), *side.draws(2)]]
    assert len(set(rows)) == 4


def test_the_parts_of_the_bench_run(monkeypatch, capsys):
    monkeypatch.setattr(timing, "matrix_rate", lambda: 1e9)
    threads = torch.get_num_threads()
    bench.front_end(1, clips=2)
    bench.inference(1, clips=1, width=1)
    bench.training("(d) FixMatch step", "fixmatch", 1, 1, **TINY)
    bench.overhead(1, width=1, **TINY)
    bench.mn04(1, **TINY)
    assert torch.get_num_threads() == threads
    text = capsys.readouterr().out
    assert all(f"({letter})" in text for letter in "abdeh") and "same loss on the same masks" in text


def test_slow_work_has_fewer_turns_and_always_one(monkeypatch):
    calls = []
    counted = timing.alternate(lambda: calls.append("ours"), lambda: calls.append("theirs"), 3)
    assert [len(one) for one in counted] == [3, 3] and len(calls) == 2 + 3 * 2 * 3
    monkeypatch.setattr(timing, "SLOW", 0.0)
    monkeypatch.setattr(timing, "PATIENCE", 0.0)
    calls.clear()
    counted = timing.alternate(lambda: calls.append("ours"), lambda: calls.append("theirs"), 3)
    assert [len(one) for one in counted] == [1, 1] and calls == ["ours", "theirs"] * 2


def test_a_run_takes_its_training_and_what_is_around_it(capsys):
    bench.around_a_run(1, ["steps 4", "synthetic_clips 1"])
    assert "s of training" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="no_such"):
        one_run.measure(0, ["no_such 1"])


def test_quick_leaves_out_the_long_parts_unless_named(monkeypatch):
    asked = []
    monkeypatch.setattr(bench, "run", asked.append)
    for words in (["--quick"], ["--quick", "--only", "b"], []):
        monkeypatch.setattr("sys.argv", ["bench.py", *words])
        bench.main()
    assert [(found.only, found.repeats, found.widths) for found in asked] == [
        ("floor,a,c,d,e,h,i", 1, "8"),
        ("b", 1, "8"),
        ("floor,a,b,c,d,e,f,h,i", 5, "8,64"),
    ]


@linux
def test_peak_counts_what_the_work_adds_and_nothing_before_it():
    big = np.ones(2**24)  # 128 MiB, gone before
    del big
    slack = 2**22  # the kernel counts a process's pages in batches
    assert 2**25 - slack < peak.added(lambda: np.ones(2**22)) < 2**26
    assert peak.added(lambda: None) < slack


@linux
@pytest.mark.parametrize("side", ["ours", "reference"])
def test_peak_of_a_step(side):
    assert 0 < peak.step(side, "fixmatch", 1, TINY)["bytes"] < 2**30


@linux
def test_what_gets_a_process_of_its_own_comes_back_or_fails_with_its_reason():
    assert peak.fresh("peak", "resident", name="VmHWM") > 2**20
    with pytest.raises(RuntimeError, match="no_such"):
        peak.fresh("peak", "no_such")


def test_no_proc_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(peak, "PROC", tmp_path / "none")
    bench.memory(1)
    assert capsys.readouterr().out.splitlines() == [f"(f) {peak.MISSING}"]


def test_growth_writes_its_table_and_figure(tmp_path, in_process):
    growth.measure(tmp_path, 1, mus=(1,), widths=(1,), clips=(1, 2), width=1, **TINY)
    with (tmp_path / "growth.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [
        (axis, value, side) for axis, value in (("mu", 1), ("width", 1)) for side in ("ours", "reference")
    ]
    stores = [("clips", value, side) for value in (1, 2) for side in ("build", "open")]
    assert [(row["axis"], int(row["value"]), row["side"]) for row in rows] == steps + stores
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_growth_figure_fits_powers_and_says_what_was_not_measured():
    rows = [growth.row("width", w, "ours", [w**2.0], None) for w in (4, 8, 16)]
    rows += [
        growth.row("clips", n, side, [s], b)
        for n in (1, 2)
        for side, s, b in (("build", n, 1e8), ("open", 1e-3, 0))
    ]
    texts = [text.get_text() for axes in growth_figure(rows).axes for text in axes.texts]
    assert "ours\n\N{PROPORTIONAL TO} width$^{2.0}$" in texts and "not measured" in texts
    assert "open\n\N{PROPORTIONAL TO} clips$^{0.0}$" in texts and "open\nunder 1 MB" in texts


def test_floor_is_counted(capsys):
    knobs = sides.knobs_of("fixmatch", 8)
    found = floor.floor(knobs)
    assert found.operations == (3 * 32 + 56) * check_paper.forward_operations(8)
    assert found.held == memory.step_bytes(knobs, 501)
    parameters = memory.step_bytes(knobs, 501, value_bytes=0) / memory.OPTIMIZER_BYTES
    assert found.moved == 2 * (found.held - 20 * parameters) + 36 * parameters
    floor.report([8])
    assert "FixMatch, width 8, B = 4, mu = 7" in capsys.readouterr().out


SMALL = accelerator.Scale(
    width=1, batch=2, fixmatch_batch=2, mu=1, clip_seconds=0.64, scored=2, dtype=torch.float32, matrix=32,
    products=1,
    steps=1, repeats=1,
)  # fmt: skip


def test_accelerator_measures_any_device(capsys):
    results = accelerator.measure(CPU, SMALL)
    assert list(results) == ["ours, float32", "reference, as PyTorch comes", "reference, TF32 off"]
    assert set(accelerator.ways(SMALL, cuda=True)) - set(results) == {"ours, float32, one CUDA graph a step"}
    for found in results.values():
        assert {kind: one.clips for kind, one in found.items()} == {
            "fixmatch": 8,
            "supervised": 4,
            "scoring": 2,
        }
        assert found["fixmatch"].operations > 0 and found["scoring"].peak is None
    text = capsys.readouterr().out
    assert "CUDA not used" in text and "arithmetic, not run" in text


def test_hours_are_those_of_the_plan():
    forward, rate = check_paper.forward_operations(), 1e14
    step = {}
    for method in ("supervised", "fixmatch"):
        operations = check_paper.step_operations(accelerator.Scale().knobs(method), forward)
        step[method] = accelerator.Found(1, operations, np.array([operations / rate]), None)
    scored = accelerator.Found(256, 256 * forward, np.array([256 * forward / rate]), None)
    rows = check_paper.whole_plan()
    found = accelerator.hours(rows, step, scored)
    assert set(found) == {"supervised", "fixmatch", "scoring"} and all(value > 0 for value in found.values())
    assert sum(found.values()) == pytest.approx(sum(row.operations for row in rows) / rate / 3600)


def test_what_does_not_fit_is_one_line():
    def fails():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    assert (
        accelerator.attempt(fails)
        == "not measured (OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB)"
    )


@pytest.mark.parametrize("words", [["--device", "cuda:99"], ["--device", "card"], ["--only", "a,z"]])
def test_what_is_not_there_is_one_line_and_status_1(words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench.py", *words])
    with pytest.raises(SystemExit) as end:
        bench.main()
    written = capsys.readouterr()
    assert end.value.code == 1 and not written.out
    assert written.err.startswith("error: ") and len(written.err.splitlines()) == 1


def test_schedule_measures_splits_of_real_cores_only(capsys):
    assert schedule.splits(4) == [(1, 4), (2, 2), (4, 1)]
    with pytest.raises(UserError, match="only real cores"):
        schedule.measure(schedule.real_cores() + 1, 0.0, 1)
    small = {"width": 1, "clip_seconds": 0.64, "fixmatch_batch_size": 2, "mu": 1}
    found = schedule.measure(1, 0.0, 1, **small)
    assert schedule.report(found | {(2, 1): 2 * found[1, 1]}) == (2, 1)
    assert "50% of it" in capsys.readouterr().out


def test_startup_runs_the_cells_before_training(monkeypatch):
    cells = startup.cells()
    assert "settings = " in cells[-2] and not any("train.run(" in cell for cell in cells)
    monkeypatch.setattr(startup, "cells", lambda: ["%matplotlib inline", "import json"])
    assert startup.kernel_seconds() > 0
    total, packages = startup.imports(top=3)
    assert total > 0 and len(packages) == 3
    monkeypatch.setattr(startup, "cells", lambda: ["1 / 0"])
    with pytest.raises(RuntimeError, match="division by zero"):
        startup.kernel_seconds()
