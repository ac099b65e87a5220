"""The benchmark's reference computes the loss that ours does, on the same masks: else its ratios would mean nothing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import bench


@pytest.mark.parametrize("method", ["supervised", "fixmatch"])
def test_reference_has_the_same_loss(method):
    sides = bench.Sides(method, width=1, clips=0)
    assert sides.check() < 1e-5
    sides.optimizers()
    before = {name: value.clone() for name, value in sides.peer.named_parameters()}
    sides.step()
    sides.peer_step()
    moved = [name for name, value in sides.peer.named_parameters() if not value.equal(before[name])]
    assert "fc_transfer.weight" in moved and "base.conv_block1.conv1.weight" in moved
