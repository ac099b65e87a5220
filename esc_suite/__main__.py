"""The commands of the suite: python -m esc_suite COMMAND [options]. Each explains its options with --help."""

import importlib
import sys

from esc_suite.run.together import one_line

COMMANDS = {  # name: where it is, what it does; words only, for a machine on which nothing is installed
    "check": ("esc_suite.run.check", "whether this machine is ready, one line a check with its remedy"),
    "check-paper": (
        "esc_suite.run.check_paper",
        "what the paper's scale takes, and one step of it on this CPU",
    ),
    "download": ("esc_suite.run.download", "UrbanSound8K and the pretrained weights, into data/"),
    "label": (
        "esc_suite.label.command",
        "your own recordings: trains on your labels, and labels the clips that have none",
    ),
    "features": ("esc_suite.run.store", "the log-mels of a dataset, computed once for all runs"),
    "tables": ("esc_suite.tables.write", "Tables 1 to 5 and the claims, from finished runs"),
    "claims": ("esc_suite.tables.write:claims", "the claims alone"),
    "sensitivity": (
        "esc_suite.tables.sensitivity",
        "what each alternative to our choices changes, from finished runs",
    ),
    "report": ("esc_suite.tables.report", "everything on one HTML page, from finished runs"),
}


def listed() -> str:
    """All commands with a line each."""
    lines = [f"  {name:<13}{about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join([__doc__ or "", "", *lines])  # -OO leaves out docstrings


def main() -> int:
    """Run one command with the rest of the command line."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("-h", "--help"):
        with one_line():
            print(listed())
        return 0
    if not name:
        print(listed(), file=sys.stderr)
        return 2
    if name not in COMMANDS:
        print(f"error: no command '{name}': choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    sys.argv = [f"python -m esc_suite {name}", *sys.argv[2:]]
    with one_line():
        return run(name)


def run(name: str) -> int:
    """Run a command that is there."""
    try:
        module, _, function = COMMANDS[name][0].partition(":")
        command = getattr(importlib.import_module(module), function or "main")
    except ModuleNotFoundError as missing:  # a machine with nothing on it is what `check` is for
        print(
            f"fail  packages  {missing.name} is not installed: `make install`, then run this in "
            ".venv/bin/python"
        )
        return 1
    return command() or 0


if __name__ == "__main__":
    sys.exit(main())
