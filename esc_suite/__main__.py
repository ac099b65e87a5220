"""python -m esc_suite check | check-paper | download | features | tables | sensitivity | claims | report [options]"""

import importlib
import sys

COMMANDS = {
    "check": "esc_suite.run.check",
    "check-paper": "esc_suite.run.check_paper",
    "download": "esc_suite.run.download",
    "features": "esc_utils.features",
    "tables": "esc_suite.tables.write",
    "sensitivity": "esc_suite.tables.sensitivity",
    "claims": "esc_suite.tables.write:claims",
    "report": "esc_suite.tables.report",
}


def main() -> int:
    """Run one command with the rest of the command line."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("-h", "--help"):
        print(__doc__)
        return 0
    if name not in COMMANDS:
        print(f"error: no command '{name}': choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    sys.argv = [f"python -m esc_suite {name}", *sys.argv[2:]]
    try:
        module, _, function = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), function or "main")
    except ModuleNotFoundError as missing:  # a machine with nothing on it is what `check` is for
        print(f"fail  packages  {missing.name} is not installed: `make install`, then run this in .venv/bin/python")
        return 1
    return command() or 0


if __name__ == "__main__":
    sys.exit(main())
