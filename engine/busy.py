"""What a node says when it has enough to do."""

from __future__ import annotations


class Busy(Exception):
    """The node takes no further operation, or read, until some are done."""
