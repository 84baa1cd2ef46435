"""The conversation that is meant when a user names none: that of `use`, or the only one that awaits a choice."""

from __future__ import annotations

from console.node.words import AUTO, CUT, SWITCH, SYNTH
from console.usage import Usage, UsageError, expectation
from kvstore.conversation import Kind
from server.session import Session

_WITH_TEXT = ("query", "ask")
_SHOWN = 5


class CurrentConversation:
    """Of the user of `session`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.context: str | None = None
        """Set by `use`, and by `rename`."""
        self._changes = 0
        self._confirmed: tuple[int, str | None] = 0, None
        """The last change that was answered well, and what it set."""
        self._is_refused = False
        """The last change of all was."""

    def change(self, context: str | None) -> int:
        """It is this one from now on, for lines that are typed ahead; to be confirmed or refused by its number."""
        self._changes += 1
        self._is_refused = False
        self.context = context
        return self._changes

    def confirm(self, change: int, context: str | None) -> None:
        self._confirmed = max(self._confirmed, (change, context), key=lambda each: each[0])
        if self._is_refused:
            self.context = self._confirmed[1]

    def refuse(self, change: int) -> None:
        """Back to what is known to be right, unless another change was asked for since."""
        if change == self._changes:
            self._is_refused = True
            self.context = self._confirmed[1]

    def fill(self, usage: Usage, rest: str) -> str:
        """The rest of a command's line, with the conversation filled in if it was omitted. Raises UsageError."""
        name = usage.name
        if name == "choose":
            return self._fill_choice(usage, rest)
        if self.context is None or not usage.current:
            return rest
        words = [word for word in rest.split() if not word.startswith("--")]
        if name in _WITH_TEXT:
            left_out = bool(rest) and not self._exists(rest.split(None, 1)[0])
        elif name in ("system", "title"):
            left_out = not rest or not self._exists(rest.split(None, 1)[0])
        elif name == "retry" and len(words) == 1:
            left_out = words[0].isdigit() and not self._exists(words[0])
        elif name == "auto":
            left_out = not words or (len(words) == 1 and words[0].lower() in SWITCH and not self._exists(words[0]))
        elif name == "fork" and len(words) == 2:
            left_out = words[1].isdigit() and not self._exists(words[0])
        else:
            left_out = len(words) == usage.least - 1
        return f"{self.context} {rest}".rstrip() if left_out else rest

    def for_choice(self) -> list[str]:
        """The conversations that `choose N` may refer to."""
        if self.context is not None:
            return [self.context]
        return [
            context for context, conversation in self._session.conversations.items()
            if conversation.open_turn is not None and conversation.turns[-1].kind is Kind.QUERY
        ]

    def _fill_choice(self, usage: Usage, rest: str) -> str:
        words = [word for word in rest.split() if word != CUT]
        if not self._lacks_conversation(words):
            return rest
        meant = self.for_choice()
        if len(meant) == 1:
            return f"{meant[0]} {rest}"
        if meant:
            shown = ", ".join(meant[:_SHOWN]) + (", ..." if len(meant) > _SHOWN else "")
            raise UsageError(f"which conversation? {shown} await a choice: {expectation(usage)}")
        return rest

    def _lacks_conversation(self, words: list[str]) -> bool:
        if len(words) == 1:
            return words[0].isdigit() or words[0].lower() in (AUTO, SYNTH)
        return len(words) == 2 and words[0].lower() == SYNTH and words[1].isdigit() and not self._exists(words[0])

    def _exists(self, context: str) -> bool:
        """A conversation whose creation is in progress counts as existing."""
        return context in self._session.conversations or context in self._session.creating
