"""What papermill loads for `--engine esc`: the engine, and around it one-line errors on papermill's command
line.

The engine itself comes too late for those: papermill reads notebook and parameters before it asks for one,
and writes the output after it. Papermill alone imports this module, through the project's entry point."""

import errno
import logging
import sys
import traceback

from esc_suite.run.engine import EscEngine, check_sources, command_line
from esc_utils.config import RunConfig
from esc_utils.errors import UserError

__all__ = ["EscEngine"]

FULL = (errno.ENOSPC, errno.EDQUOT)


class _Known(logging.Filter):
    """Papermill warns of every parameter that the parameters cell does not list: knobs of RunConfig are meant
    to be passed, and the engine itself refuses all others."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = text.rpartition(" ")[2] in RunConfig.model_fields or command_line().get("engine") == "esc"
        return not (text.startswith("Passed unknown parameter: ") and known)


logging.getLogger("papermill").addFilter(_Known())


def _one_line(kind, error, trace) -> None:
    """What papermill's command line stumbles over before or after the engine (a file, the disk) is one line
    too, for runs with `--engine esc`; anything else keeps its traceback."""
    frames = (
        frame for frame, _ in traceback.walk_tb(trace) if frame.f_globals.get("__name__") == "papermill.cli"
    )
    options = next((frame.f_locals for frame in frames if frame.f_code.co_name == "papermill"), {})
    line = None
    if options.get("engine") == "esc" and not options.get("parameters_final", {}).get("debug"):
        line = _mendable(error, options)
    if line is None:
        _usual_hook(kind, error, trace)
    else:
        print(f"Error: {line}", file=sys.stderr)


def _mendable(error: BaseException, options: dict) -> str | None:
    try:
        check_sources(options)
    except UserError as bad:
        return str(bad)
    source, target, folder = (options.get(name) for name in ("input_path", "output_path", "cwd"))
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())
    if type(error).__module__.startswith("nbformat") or isinstance(error, UnicodeDecodeError):
        return f"{source} is not a notebook ({reason[:100]}): take the one that is checked in"
    if not isinstance(error, OSError):
        return None
    if error.filename in (source, folder) and error.filename:
        return f"{error.filename} cannot be read ({reason}): check the name"
    if error.filename == target or error.errno in FULL or "output folder" in reason:
        return f"{target} cannot be written ({reason}): make its folder, free some space, or write elsewhere"
    return (
        f"{error.filename} cannot be used ({reason}): check its permissions and its disk"
        if error.filename
        else None
    )


_usual_hook, sys.excepthook = sys.excepthook, _one_line
