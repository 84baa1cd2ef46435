"""Names that a conversation may not get, because the commands use them as words of their own."""

from __future__ import annotations

from typing import Final

from kvstore.operations import Create, Fork, Import, ImportInFull, Rename, StoreOperation

_NAMING: Final = frozenset((Create, Fork, Import, ImportInFull, Rename))


def unusable(operation: StoreOperation) -> str | None:
    """Why the conversation that would come into being cannot be called so, as a sentence; None if it can. One that is
    there already, of an earlier release, keeps its name."""
    if type(operation) not in _NAMING:
        return None
    match operation:
        case Create(context=name) | Fork(context=name) | Import(context=name) | Rename(name=name):
            if name.lower() == "auto":
                return f"a conversation cannot be called '{name}': that is a word of `choose C auto`"
            if name.startswith("--"):
                return f"a conversation cannot be called '{name}': it would be taken for an option"
    return None
