"""The one exception that means "the user can mend this", shown as a single line."""

import sys
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in the data, the parameters, the weights or the environment.

    The message is one line that says what is wrong, where, and how to mend it. Notebooks, papermill and
    the command line show that line alone, without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython asks for this instead of printing its own traceback."""
        return [f"error: {self}"]


@contextmanager
def exit_with():
    """For command lines: a UserError inside becomes one line on stderr and exit status 1, and so does a file
    or folder of any kind that cannot be used (permission, disk, an endless link)."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        reason = f"cannot be used ({error.strerror}): mend its permissions or its disk, or name another place"
        print(f"error: {error.filename} {reason}", file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
