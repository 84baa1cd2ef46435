"""What clients have been sent of answers that were not decided yet, and what that leaves to say when they are."""

from __future__ import annotations

import msgspec

from kvstore.conversation import SYNTHESIS, Response, State, Turn
from server.own_drafts import Draft
from web.errors import ApiError
from web.models import ASK
from web.questions import Question
from web.watched_drafts import WatchedDrafts


class Written(msgspec.Struct):
    """One client's part of the answer of `node`: what was sent cannot be taken back."""

    node: int
    sent: str = ""

    def more(self, draft: Draft) -> str:
        """What can be sent now; nothing if the LLM has begun again with something else: the end will tell."""
        text = draft.text
        if not text.startswith(self.sent):
            return ""
        more, self.sent = text[len(self.sent) :], text
        return more

    def rest(self, said: Response) -> str | None:
        """What is left to be sent of the decided answer; None if it is not what was sent."""
        text = said.text or ""
        if text.startswith(self.sent):
            return text[len(self.sent) :]
        return "" if text and self.sent.startswith(text) else None

    def has_too_much(self, said: Response) -> bool:
        """Only the beginning of what was sent is part of the answer."""
        return len(self.sent) > len(said.text or "")


class SingleAnswer:
    """The answer to a question that one node gives, as it is written. With the model `consensus` it is not known before
    the choice whose answer that is."""

    def __init__(self, question: Question, drafts: WatchedDrafts) -> None:
        self._question = question
        self._drafts = drafts
        self._written: Written | None = None

    @staticmethod
    def is_written_by_one(question: Question) -> bool:
        return question.model.node is not None or question.model.name == ASK

    def more(self, turn: Turn) -> tuple[int, str]:
        """Whose answer, and what can be sent of it now. Drafts go by the conversation's name, which only an open turn
        keeps."""
        if turn.state is not State.OPEN:
            return 0, ""
        for node, draft in self._drafts.of(self._question.context, self._question.turn).items():
            if self._written is None and draft.text and self._question.model.node in (None, node):
                self._written = Written(node)
            if self._written is not None and self._written.node == node and node not in turn.candidates:
                return node, self._written.more(draft)
        return 0, ""

    def rest(self, turn: Turn) -> tuple[str, bool]:
        """What is left to be sent of the chosen answer, and whether too much was sent. Raises ApiError if what was sent
        is something else."""
        assert turn.chosen is not None and turn.answer is not None
        written = self._written or Written(turn.chosen)
        rest = written.rest(turn.answer) if written.node == turn.chosen else None
        if rest is None:
            raise differs(written.node, turn)
        return rest, written.has_too_much(turn.answer)


def differs(node: int, turn: Turn) -> ApiError:
    """What was sent of a node's answer is not what stands."""
    return ApiError(502, f"what was streamed does not stand: {why_not(node, turn)}", code="answer_differs", retry=False)


def why_not(node: int, turn: Turn) -> str:
    said = turn.candidates.get(node)
    if said is not None and said.error is not None:
        return f"the LLM of node {node} failed: {said.error}"
    if turn.chosen is not None and turn.chosen != node:
        return f"{'the synthesis' if turn.chosen == SYNTHESIS else f'the answer of node {turn.chosen}'} was chosen"
    if said is None:
        return f"the question was closed before node {node} had answered"
    return f"the LLM of node {node} began again with something else"
