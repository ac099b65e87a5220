"""What every table of bad input asks for: one readable line that names the place and the remedy."""

import pytest

from esc_utils.errors import UserError


def one_line(message: str, *words: str) -> None:
    """A message of one line that holds all the words."""
    assert "\n" not in message.strip() and len(message) > 20
    for word in words:
        assert word in message, f"'{word}' is not in: {message}"


def refused(call, *words: str) -> None:
    """The call ends in one UserError, one line, holding all the words."""
    with pytest.raises(UserError) as caught:
        call()
    one_line(str(caught.value), *words)
