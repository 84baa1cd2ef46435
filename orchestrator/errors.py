"""What can go wrong with a command that makes sense."""

from __future__ import annotations


class CommandError(Exception):
    """A command failed, or did not complete; a sentence for the operator."""
