"""The one exception that means "the user can mend this", shown as a single line."""


class UserError(Exception):
    """A mistake in the data, the parameters, the weights or the environment.

    The message is one line that says what is wrong, where, and how to mend it. Notebooks, papermill and
    the command line show that line alone, without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython asks for this instead of printing its own traceback."""
        return [f"error: {self}"]
