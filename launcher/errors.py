"""What can go wrong with a command of run.sh."""

from __future__ import annotations


class LaunchError(Exception):
    """One line for the user: what is wrong and what to do."""
