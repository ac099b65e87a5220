"""Whether the place is one that `make tables` can work in: the checkout, its environment, locks, home, user,
sockets."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from esc_suite.run.environment import named, writable
from esc_suite.run.install import moved
from esc_utils import locks
from esc_utils.errors import UserError


def place(root: Path) -> Iterator[tuple[str, str, str]]:
    """(status, name, text) of each; `root`: the checkout."""
    own = Path(sys.executable).parent
    if elsewhere := moved(own):
        raise UserError(
            f"{own.parent} was made in {elsewhere}, whose programs it still starts: run `make install`"
        )
    if not writable(root):
        raise UserError(
            f"cannot write to {root}, where the workflow keeps its state: copy the checkout to a folder of "
            "yours"
        )
    with locks.hold(root / f".snakemake-check-{os.getpid()}.lock", "another check is running") as where:
        where.unlink()
    yield (
        "ok",
        "checkout",
        f"{root} can be written and locked" + ("" if where.parent == root else f" (by {where})"),
    )
    try:
        home = Path("~").expanduser()
        good = home.is_absolute() and writable(Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache"))
    except RuntimeError:
        home, good = Path("~"), False
    if good:
        yield "ok", "home", f"{home} can be written"
    else:
        yield "warn", "home", f"{home} cannot be written: caches go to .snakemake/home, or set XDG_CACHE_HOME"
    if not named(os.environ):
        yield "warn", "user", f"the id {os.getuid()} has no name: programs are told 'user', or set USER"


def sockets() -> Iterator[tuple[str, str, str]]:
    """Where kernels' sockets can lie."""
    from esc_suite.run.sockets import short_folder

    with short_folder() as folder:
        if folder is None:
            yield "warn", "sockets", "no folder for Unix sockets: kernels start one by one and talk over TCP"
        else:
            yield "ok", "sockets", f"kernels talk through {Path(folder).parent}"
