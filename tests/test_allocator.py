"""Freed memory that is kept: fewer page faults, and given back when it is told to be. Each in a process of
its own."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "tools" / "bench"
sys.path.insert(0, str(BENCH))
from timing import usual_allocator  # noqa: E402

from esc_utils import allocator  # noqa: E402

version = platform.libc_ver()
new = version[0] == "glibc" and tuple(map(int, version[1].split("."))) >= (2, 36)
glibc = pytest.mark.skipif(not new, reason="needs glibc 2.36 or later")

FAULTS = """
import resource
def faults(rounds=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(16 * 2**20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""


def child(code: str):
    """What the code puts into `found`, from a fresh process."""
    head = (
        f"import json, sys, torch\nsys.path.append({str(BENCH)!r})\nfrom esc_utils import allocator\n{FAULTS}"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{head}\n{code}\nprint(json.dumps(found))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@glibc
def test_kept_memory_is_not_new_at_every_step():
    """After some rounds, in which the heap grows."""
    code = (
        "from timing import usual_allocator\nunset = faults()\nwith usual_allocator(): usual = faults()\n"
        "faults(20); found = unset, usual, faults()"
    )
    unset, usual, kept = child(code)
    assert usual > unset / 2, "as if nothing had been set"
    assert kept < unset / 10


@glibc
def test_what_is_kept_can_be_given_back():
    code = """
import psutil
rss = psutil.Process().memory_info
allocator.keep_freed()
parts = [torch.ones(2**20) for _ in range(64)]  # 4 MiB each
most = rss().rss
del parts
kept = rss().rss
allocator.give_back()
found = most, kept, rss().rss
"""
    most, kept, left = child(code)
    assert kept > most - 64 * 2**20, "none of the 256 MiB, or hardly any, went back by itself"
    assert left < most - 200 * 2**20


def test_a_c_library_that_refuses_is_left_as_it_is(monkeypatch):
    """glibc 2.34 allows no threshold over 32 MiB; trimming alone would stop the other from sliding, at 128
    KiB."""
    asked = []

    def refuses(name, value):
        asked.append(name)
        return int(name != allocator.MMAP_THRESHOLD or value <= 32 * allocator.MIB)

    monkeypatch.setattr(allocator, "_function", lambda name: refuses)
    assert allocator.keep_freed() is False
    assert asked == [allocator.MMAP_THRESHOLD]


def test_elsewhere_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(allocator, "_function", lambda name: None)
    assert allocator.keep_freed() is False
    allocator.give_back()
    with usual_allocator():
        pass
