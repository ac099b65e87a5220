"""From "kernel requested" to "the next cell can train": python tools/bench/startup.py [--repeats 3]

A cold kernel, which imports everything itself, and a warm one, a fork of a process that has
(esc_suite/run/warm.py), take turns. The cells are those of notebook 04 before its training, and an optimizer.
Then where a cold start's imports go.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "04_fixmatch_ablations.ipynb"
# What training imports on its way: these, and torch._dynamo with the first optimizer of a process.
READY = """
import pandas
import sklearn.linear_model
import sklearn.metrics
import torch
from esc_utils.optim import optimizer
optimizer(settings, [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-3}])
"""
PATIENCE = 120  # s for a kernel or the server to come up


def cells() -> list[str]:
    """The code cells up to the one that reads the settings, and READY."""
    code = [
        "".join(cell["source"])
        for cell in json.loads(NOTEBOOK.read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    last = next(i for i, source in enumerate(code) if "settings = " in source)
    return [*code[: last + 1], READY]


def kernel_seconds(warm: str = "") -> float:
    """Seconds until a new kernel has run the cells; `warm`: socket of the server to fork it from, empty for a
    cold one."""
    from jupyter_client.manager import KernelManager

    os.environ |= {"JUPYTER_DEFAULT_PROVISIONER_NAME": "esc-warm", "ESC_WARM": warm}
    began = time.perf_counter()
    folder = tempfile.mkdtemp(prefix="esc-")
    manager = KernelManager(transport="ipc", ip=f"{folder}/k")  # as esc_suite.run.engine's
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        for source in cells():
            reply = client.execute_interactive(source, timeout=PATIENCE, output_hook=lambda _: None)
            if reply["content"]["status"] != "ok":
                raise RuntimeError(f"a cell failed: {reply['content'].get('evalue')}")
        return time.perf_counter() - began
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def server():
    """A warm server that has imported everything: (its socket, seconds that took)."""
    import socket

    with tempfile.TemporaryDirectory(prefix="esc-") as folder:
        path, began = f"{folder}/warm", time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "esc_suite.run.warm", path], cwd=ROOT)
        try:
            while True:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
                    if probe.connect_ex(path) == 0:
                        break
                if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                    raise RuntimeError("the warm server did not come up")
                time.sleep(0.05)
            yield path, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()


def imports(top: int = 10) -> tuple[float, list[tuple[str, float]]]:
    """Seconds of all imports of the cells in a new process, and the packages that take most: (name, seconds
    of its own modules, without what they import of others)."""
    source = "\n".join(line for cell in cells() for line in cell.splitlines() if not line.startswith("%"))
    ast.parse(source)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", source], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"the cells failed in a process of their own:\n{done.stderr[-2000:]}")
    spent = Counter()
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            spent[parts[2].strip().split(".")[0]] += int(parts[0]) / 1e6
    return sum(spent.values()), spent.most_common(top)


def measure(repeats: int) -> dict[str, list[float]]:
    """Print everything; seconds of each start, {"cold": [...], "warm": [...]}."""
    found = {"cold": [], "warm": []}
    with server() as (path, took):
        print(f"the warm server itself comes up in {took:.1f} s, once a workflow")
        for _ in range(repeats):
            found["cold"].append(kernel_seconds())
            found["warm"].append(kernel_seconds(path))
    print(f"\nkernel requested to the next cell can train, median of {repeats}")
    for name, seconds in found.items():
        low, middle, high = np.percentile(seconds, [0, 50, 100])
        print(f"    {name}  {middle:6.2f} s  [{low:.2f} to {high:.2f}]")
    total, packages = imports()
    print(f"\nimports of a cold start under -X importtime: {total:.2f} s in all; by package, its own modules")
    for name, seconds in packages:
        print(f"    {name:24} {seconds:6.2f} s  {seconds / total:4.0%}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    measure(parser.parse_args().repeats)


if __name__ == "__main__":
    main()
