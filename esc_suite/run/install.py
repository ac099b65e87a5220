"""`make install`: everything into .venv, made anew where it was moved, copied or is broken. Standard library
alone, for it
runs before anything is installed:    python3 esc_suite/run/install.py"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV, STAMP = ROOT / ".venv", ROOT / ".venv" / "installed"
PYTHON = VENV / "bin" / "python"
MADE_FROM = (ROOT / "requirements.lock", ROOT / "pyproject.toml", Path(__file__))
# What a person's pip is told about the network is kept; where and what it installs (user, target, ...) is not
# ours.
NETWORK = {
    "index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert", "proxy",
    "timeout",
    "default-timeout", "retries", "cache-dir", "no-cache-dir", "keyring-provider", "constraint",
}  # fmt: skip
UV_NETWORK = re.compile(
    "UV_.*(INDEX|FIND_LINKS|HOST|TLS|CERT|CACHE|HTTP|OFFLINE|KEYRING|NETRC|LINK_MODE|CONCURRENT).*"
)


class Failed(Exception):
    """What went wrong and how to mend it, in a line."""


def moved(bin_folder: Path) -> str:
    """Where an environment was made, if that is another place than it is in now; "" else. Its scripts name
    their Python."""
    try:
        head = "".join(
            (bin_folder / "papermill").read_text(encoding="utf-8", errors="replace").splitlines(True)[:2]
        )
    except OSError:
        return ""
    named = re.search(r"/[^'\"\n]*/bin/python[0-9.]*", head)
    if named is None:
        return ""
    there = Path(named[0]).parent
    same = there.is_dir() and there.samefile(bin_folder)
    return "" if same else str(there.parent)


def fault() -> str:
    """Why .venv can't be used; "" where it can, or is not there."""
    if not VENV.is_dir():
        return "is no folder" if VENV.is_symlink() or VENV.exists() else ""
    if elsewhere := moved(VENV / "bin"):
        return f"belongs to {elsewhere}"
    try:
        works = (
            subprocess.run(
                [PYTHON, "-c", "import pip"], capture_output=True, env=plain_environment()
            ).returncode
            == 0
        )
    except OSError:
        works = False
    return "" if works else "is broken (its Python or pip does not start)"


def plain_environment() -> dict:
    """The environment without a person's settings of Python, pip and uv, but for the network."""
    return {
        name: value
        for name, value in os.environ.items()
        if not re.match("PYTHON.|PIP_|UV_|VIRTUAL_ENV|__PYVENV", name) or UV_NETWORK.fullmatch(name)
    }


def network_environment() -> dict:
    """The same, with what pip's files and variables say of the network; uv, which reads none of them, gets
    the index."""
    kept, words = {}, [PYTHON, "-m", "pip", "config", "list"]
    own = {name: value for name, value in os.environ.items() if not re.match("PYTHON.", name)}
    # They choose one file for `pip config`, too
    own |= dict.fromkeys(("PIP_USER", "PIP_GLOBAL", "PIP_SITE"), "0")
    lines = subprocess.run(words, capture_output=True, text=True, env=own).stdout.splitlines()
    for scope in ("global.", "install.", ":env:."):  # later ones win
        for line in lines:
            name, equals, value = line.removeprefix(scope).partition("=")
            if line.startswith(scope) and equals and name in NETWORK:
                kept[f"PIP_{name.upper().replace('-', '_')}"] = str(ast.literal_eval(value))
    found = plain_environment() | kept | {"PIP_CONFIG_FILE": os.devnull}
    if "PIP_INDEX_URL" in kept and not any(name in found for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX")):
        found["UV_DEFAULT_INDEX"] = kept["PIP_INDEX_URL"]
    return found


def step(what: str, remedy: str, *words, **options) -> None:
    """One program, in a session of its own: Ctrl-C reaches this one alone, which ends that one with all it
    started."""
    try:
        process = subprocess.Popen(words, cwd=ROOT, start_new_session=True, **options)
    except OSError as error:
        raise Failed(f"{what}: {words[0]} cannot be run ({error.strerror}); {remedy}") from None
    try:
        status = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if status:
        raise Failed(f"{what} failed (see above); {remedy}")


def make(why: str) -> None:
    """A new .venv, in place of one that can't be used."""
    if why:
        if VENV.is_symlink():
            raise Failed(
                f".venv is a link, and what it leads to {why}: delete .venv, then run make install again"
            )
        print(f".venv {why}: it is made anew", flush=True)
        try:
            shutil.rmtree(VENV) if VENV.is_dir() else VENV.unlink()
        except OSError as error:
            raise Failed(
                f".venv {why} and cannot be removed ({error.strerror}): delete {VENV} by hand"
            ) from None
    python = getattr(sys, "_base_executable", sys.executable)  # .venv's own may be the one that was removed
    remedy = (
        "install Python with venv and pip (Debian, Ubuntu: apt install python3-venv), then run make "
        "install again"
    )
    try:
        step("making .venv", remedy, python, "-m", "venv", VENV, env=plain_environment())
    except Failed:
        shutil.rmtree(VENV, ignore_errors=True)  # half of one would stop the next try
        raise


def install() -> None:
    """Make .venv as the lock file says, unless it is so."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise Failed(f"{sys.executable} is not Python 3.11 to 3.13: set PYTHON=/path/to/python3.11")
    why = fault()
    if (
        not why
        and STAMP.is_file()
        and all(STAMP.stat().st_mtime >= file.stat().st_mtime for file in MADE_FROM)
    ):
        return
    print("Installing into .venv (a minute or two) ...", flush=True)
    if why or not VENV.is_dir():
        make(why)
    environment, uv = network_environment(), VENV / "bin" / "uv"
    again, quiet = "check network and disk, then run make install again", ("--quiet", "--python", PYTHON)
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    packages = (*quiet, "--compile-bytecode", "requirements.lock")
    project = (*quiet, "--no-deps", "--no-build-isolation", "--editable", ".")
    step("installing uv", again, *pip, "uv", env=environment)
    step("installing the packages", again, uv, "pip", "sync", *packages, env=environment)
    step("installing the project", again, uv, "pip", "install", *project, env=environment)
    for link in VENV.glob("lib/python3*/site-packages/__editable__*esc_utils*.pth"):
        # By a relative path: a copied or moved checkout never runs the original's code
        link.write_text("../../../..\n")
    STAMP.touch()


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C; under nohup SIGHUP stays ignored
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        install()
    except Failed as problem:
        sys.exit(f"error: {problem}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted: run make install again, it goes on")
    except OSError as problem:
        where = problem.filename or VENV
        sys.exit(
            f"error: {where} cannot be written ({problem.strerror}): free some space, or check its "
            "permissions"
        )
