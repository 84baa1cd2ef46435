"""What can go wrong with a command of run.sh."""

from __future__ import annotations


class LaunchError(Exception):
    """One line for the user: what is wrong and what to do."""


class NotUnderstood(LaunchError):
    """A word of the command line that has no meaning there."""

    def __init__(self, word: str) -> None:
        super().__init__(
            f"'{word}' is not understood here; ./run.sh help says what is. Another configuration is named like this: "
            "CONFIG=FILE ./run.sh"
        )
