"""Where a number comes from: commit, code, versions, device."""

import ast
import functools
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Modules that can change a number of a run. Comments, docstrings and layout do not count.
METHOD = (
    "config", "urbansound", "synthetic", "sounds", "features", "frontend", "augment", "model", "yamnet",
    "losses", "optim", "sampling", "steps", "head", "folding", "training", "evaluation",
)  # fmt: skip
PACKAGES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "soundfile", "soxr", "pytorch-optimizer")


@functools.cache
def code_hash() -> str:
    """16 hex digits over the syntax trees of the method's modules and the shipped backbone."""
    folder = Path(__file__).parent
    found = hashlib.sha256()
    for name in METHOD:
        path = folder / f"{name}.py"
        if path.is_file():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found.update(f"{name} {ast.dump(_without_docstrings(tree))}".encode())
    backbone = folder / "assets" / "backbone.safetensors"
    if backbone.is_file():
        found.update(backbone.read_bytes())
    return found.hexdigest()[:16]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def cuda_devices() -> int:
    """Number of NVIDIA GPUs, without importing torch."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def commit() -> tuple[str, bool]:
    """(commit, dirty) of the checkout; ("unknown", True) outside of git."""
    root = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        answer = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
