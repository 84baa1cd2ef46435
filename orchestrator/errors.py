"""What can go wrong with a command that makes sense."""

from __future__ import annotations


class CommandError(Exception):
    """A command could not be carried out, or not to its end; a sentence for the operator."""
