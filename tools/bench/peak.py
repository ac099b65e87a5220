"""Memory that a piece of work adds at its peak. The kernel keeps the mark, so this needs Linux's /proc.

Each measurement is a process of its own: what earlier work left in the allocators would hide what later work
needs.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path

from esc_utils import allocator

PROC = Path("/proc/self")
MISSING = "peak memory: not measured, it needs Linux's /proc/self/clear_refs"


def available() -> bool:
    """Whether this platform can reset the mark of a process's largest memory."""
    try:
        (PROC / "clear_refs").write_text("5")
        return resident("VmHWM") > 0
    except OSError:
        return False


def resident(name: str) -> int:
    """Bytes of a line of /proc/self/status: VmRSS now, VmHWM at the highest."""
    lines = (PROC / "status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def added(work) -> int:
    """Bytes that work() adds to this process at its peak, after what lies free has gone back to the
    system."""
    allocator.give_back()
    (PROC / "clear_refs").write_text("5")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def fresh(module: str, function: str, **values):
    """What `function` of a module of this folder returns, as JSON can hold it, called in a new process."""
    command = [sys.executable, __file__, module, function, json.dumps(values)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{module}.{function} failed in its process:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def step(side: str, method: str, width: int, changes: dict) -> dict:
    """Bytes that the first optimizer step of one side ("ours", "reference") adds, the optimizer's own state
    included.

    A tiny step goes before it: code and tables that the libraries load on first use are no part of a step."""
    import sides

    tiny = {"clip_seconds": 0.64, "fixmatch_batch_size": 2, "mu": 1, "batch_size": 2}
    make = sides.Ours if side == "ours" else sides.Plain
    for knobs in (sides.knobs_of(method, 1, **tiny), sides.knobs_of(method, width, **changes)):
        one = make(knobs, sides.Pool(knobs))
        found = added(one.train)
    return {"bytes": found}


if __name__ == "__main__":
    module, function, values = sys.argv[1:]
    found = getattr(importlib.import_module(module), function)(**json.loads(values))
    print(json.dumps(found))
