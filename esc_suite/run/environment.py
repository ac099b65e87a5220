"""The environment variables of what the suite starts: a person's own settings change neither results nor
looks, and what wants a home, a name or a cache finds one."""

import os
import pwd
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from esc_suite.run import limits

# Settings of other programs that ours would obey. PYTHONPATH stays (the suite's own folder stands before it),
# and so do proxies, certificates, and whatever names devices.
PERSONAL = re.compile(
    "GIT_.*"  # another repository than the one that the code lies in
    "|SNAKEMAKE_.*|PAPERMILL.*|JUPYTER_.*|JPY_.*|IPYTHON.*"
    "|PYTHON(HOME|STARTUP|OPTIMIZE|WARNINGS|INSPECT|IOENCODING|USERBASE|DEBUG|VERBOSE|SAFEPATH|LEGACY.*|CASEOK|PLATLIBDIR)"
    # Snakemake's shell reads the latter
    "|MPL.*|MATPLOTLIB.*|BASH_ENV|BASH_FUNC_.*|BASHOPTS|SHELLOPTS|CDPATH"
    "|NVIDIA_TF32_OVERRIDE|TORCH_ALLOW_TF32.*"  # the precision of float32
)
INLINE = "module://matplotlib_inline.backend_inline"


def settled(folder: Path, given: Mapping[str, str] | None = None, backend: str = "Agg") -> dict[str, str]:
    """Variables for a process: `given` (this process's own) without what is personal. `folder`: where caches
    go if the home is none that can be written; nothing is made in it here. `backend`: matplotlib's."""
    given = os.environ if given is None else given
    found = {name: value for name, value in given.items() if not PERSONAL.fullmatch(name)}
    found |= {"PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1", "MPLBACKEND": backend, "MATPLOTLIBRC": os.devnull}
    found["LOKY_MAX_CPU_COUNT"] = str(limits.cores())  # joblib.cpu_count asks it
    found |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_CONFIG_DIR": str(folder / "jupyter")}
    if not named(found):
        found["USER"] = found["LOGNAME"] = "user"
    home = Path(found.get("HOME", ""))
    if not home.is_absolute():
        try:
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        except KeyError:
            home = folder
        found["HOME"] = str(home)
    if not writable(Path(found.get("XDG_CACHE_HOME") or home / ".cache")):
        found |= {"XDG_CACHE_HOME": str(folder / "cache"), "MPLCONFIGDIR": str(folder / "matplotlib")}
        found["JUPYTER_RUNTIME_DIR"] = str(folder / "runtime")
    return found


def named(given: Mapping[str, str]) -> bool:
    """Whether this process's user has a name, which torch and Snakemake ask for."""
    if any(given.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        return True
    try:
        return bool(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:  # an id that a container was started with
        return False


def writable(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that is there, can be written: tried, since permission
    bits say little on network disks and for root. Leaves nothing behind."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            return True
    except OSError:
        return False
