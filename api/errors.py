"""What can be wrong with a command, as exceptions."""

from __future__ import annotations


class InvalidCommand(ValueError):
    """A command that no state makes possible. Says why, as a sentence for users."""
