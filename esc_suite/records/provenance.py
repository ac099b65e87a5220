"""Where a number comes from: commit, code, versions, device."""

import ast
import functools
import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import esc_utils
from esc_utils.contents import sha256, visible
from esc_utils.knobs import digest
from esc_utils.paths import MN04_SHA256, weights_file

METHOD = Path(esc_utils.__file__).resolve().parent
PACKAGES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "soundfile", "soxr", "pytorch-optimizer")


@functools.cache
def code_hash() -> str:
    """16 hex digits over the method: the syntax trees of esc_utils and the shipped backbone. Comments,
    docstrings and layout do not count."""
    return folder_hash(METHOD, "standins/assets/*.safetensors")


def folder_hash(folder: Path, others: str) -> str:
    """16 hex digits over the syntax trees of all modules under a folder, and over its `others`."""
    found = hashlib.sha256()
    for path in visible(folder, "*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.update(f"{path.relative_to(folder).as_posix()} {dump(_without_docstrings(tree))}".encode())
    for path in sorted(folder.glob(others)):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def dump(tree) -> str:
    """A syntax tree as text, the same on every Python from 3.11 to 3.13. Fields that hold nothing are left
    out: newer versions add such fields (type_params), and ast.dump writes them on some versions only."""
    if isinstance(tree, list):
        return f"[{', '.join(map(dump, tree))}]"
    if not isinstance(tree, ast.AST):
        return ascii(tree)  # repr would escape what this version's Unicode tables do not know
    values = {name: getattr(tree, name, None) for name in tree._fields}
    if isinstance(tree, ast.JoinedStr):  # Python 3.12 ends some formats with an empty text
        values["values"] = [part for part in tree.values if getattr(part, "value", None) != ""]
    kept = (f"{name}={dump(value)}" for name, value in values.items() if value is not None and value != [])
    return f"{type(tree).__name__}({', '.join(kept)})"


def weights_digest(config) -> str:
    """16 hex digits over the contents of the weights that a run loads, wherever they lie; "" for none, and
    where they are missing. mn04's that are still to be fetched count as the published file."""
    path = weights_file(config)
    if path is None or not path.is_file():
        to_fetch = config.network == "mn04" and not config.weights_path
        return MN04_SHA256[:16] if to_fetch else ""
    return sha256(path)[:16]


def identity(config, fingerprint: str) -> str:
    """16 hex digits over all that a run's numbers come from: its knobs, the method's code, the dataset's
    fingerprint and the pretrained weights. A record that holds them needs no new run."""
    return digest([config.hash, code_hash(), fingerprint, weights_digest(config)])


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # one that this run does not need, as on Kaggle
            found[package] = "missing"
    return found


def commit() -> tuple[str, bool]:
    """(commit, dirty) of the checkout; ("unknown", True) outside of git, and where this code is no part of
    what git holds here: unpacked inside another repository, or never committed."""
    root = METHOD.parent
    # without GIT_DIR, GIT_WORK_TREE ...
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        # Another user's checkout (in a container) is read, too: its code runs here in any case.
        command = ["git", "-c", f"safe.directory={root}", "--no-optional-locks", "-C", str(root), *words]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
        return answer.stdout.strip()

    try:
        own = Path(git("rev-parse", "--show-toplevel")).samefile(root)
        if not own or not git("ls-tree", "HEAD", METHOD.name):
            return "unknown", True
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
