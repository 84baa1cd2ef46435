"""A chat completion as a stream of chunks: each choice as its node writes it, where it is known to be a choice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from kvstore.conversation import SYNTHESIS, Response, State, Turn
from web.messages import tokens
from web.questions import Question
from web.watched_drafts import WatchedDrafts
from web.written import SingleAnswer, Written, why_not


class Asked(msgspec.Struct, frozen=True):
    """What a client asked for, and the question that was put. `model` is as the client named it."""

    model: str
    question: Question
    count: int
    """Of choices."""
    prompt_tokens: int
    wants_usage: bool

    @property
    def head(self) -> dict[str, Any]:
        question = self.question
        return {
            "id": f"chatcmpl-{question.created}-{question.turn}", "created": question.at // 1000, "model": self.model,
        }

    def consensus(self, turn: Turn) -> dict[str, Any]:
        """What no other server says."""
        return {"context": self.question.context, "turn": self.question.turn, "chosen": turn.chosen}

    def usage(self, turn: Turn, nodes: list[int]) -> dict[str, int]:
        """As the nodes' LLMs counted, or estimated; always so of the prompt, which nodes may read differently."""
        answers = [turn.candidates[node] for node in nodes if node in turn.candidates]
        said = sum(answer.tokens_out or tokens(answer.text or "") for answer in answers)
        return {
            "prompt_tokens": self.prompt_tokens, "completion_tokens": said, "total_tokens": self.prompt_tokens + said,
        }


class ChatStream:
    """`write` sends frames to the client."""

    def __init__(self, asked: Asked, drafts: WatchedDrafts, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._asked = asked
        self._drafts = drafts
        self._write = write
        self._single = SingleAnswer(asked.question, drafts)
        self._choices: list[Written] = []
        """By index."""
        self._finished: set[int] = set()
        """Nodes."""

    @staticmethod
    def shows_drafts(asked: Asked) -> bool:
        return asked.count > 1 or SingleAnswer.is_written_by_one(asked.question)

    async def begin(self) -> None:
        await self._write(frames([self._chunk(0, {"role": "assistant", "content": ""})]))

    async def look(self, turn: Turn) -> None:
        """Sends what there is now."""
        chunks: list[dict[str, Any]] = []
        if self._asked.count > 1:
            chunks = self._candidates(turn)
        elif SingleAnswer.is_written_by_one(self._asked.question):
            node, more = self._single.more(turn)
            chunks = [self._chunk(0, {"content": more}, node=node)] if more else []
        if chunks:
            await self._write(frames(chunks))

    async def end(self, turn: Turn) -> None:
        """The answer is chosen. Raises ApiError if what was sent of it does not stand."""
        chunks: list[dict[str, Any]] = []
        assert turn.chosen is not None
        nodes = [turn.chosen]
        if self._asked.count == 1:
            rest, too_much = self._single.rest(turn)
            said = turn.candidates[turn.chosen]
            if rest:
                chunks.append(self._chunk(0, {"content": rest}, node=turn.chosen))
            chunks.append(self._finish(0, said, turn.chosen, too_much))
        else:
            chunks = self._candidates(turn)
            nodes = [written.node for written in self._choices]
            for index, written in enumerate(self._choices):
                if written.node not in self._finished:
                    chunks.append(self._failure(index, written, turn))
        for chunk in chunks[-1:]:
            chunk["consensus"] = self._asked.consensus(turn)
        if self._asked.wants_usage:
            chunks.append({
                **self._asked.head, "object": "chat.completion.chunk", "choices": [],
                "usage": self._asked.usage(turn, nodes), "consensus": self._asked.consensus(turn),
            })
        await self._write(frames(chunks) + b"data: [DONE]\n\n")

    def _candidates(self, turn: Turn) -> list[dict[str, Any]]:
        """Of all choices that are known so far: the nodes that began first."""
        chunks: list[dict[str, Any]] = []
        question = self._asked.question
        drafts = self._drafts.of(question.context, question.turn) if turn.state is State.OPEN else {}
        begun = [
            node for node, draft in drafts.items() if draft.text and node != SYNTHESIS and node not in turn.candidates
        ]
        for node in (*turn.answered, *begun):
            if len(self._choices) < self._asked.count and all(written.node != node for written in self._choices):
                self._choices.append(Written(node))
        for index, written in enumerate(self._choices):
            node, said = written.node, turn.candidates.get(written.node)
            if node in self._finished:
                continue
            if said is not None:
                chunks += self._decided(index, written, said, turn)
            elif node in drafts:
                is_first = not written.sent
                more = written.more(drafts[node])
                chunks += [self._delta(index, more, node, is_first)] if more else []
        return chunks

    def _decided(self, index: int, written: Written, said: Response, turn: Turn) -> list[dict[str, Any]]:
        self._finished.add(written.node)
        rest = written.rest(said)
        if rest is None or said.text is None:
            return [self._failure(index, written, turn)]
        chunks = [self._delta(index, rest, written.node, not written.sent)] if rest else []
        return [*chunks, self._finish(index, said, written.node, written.has_too_much(said))]

    def _delta(self, index: int, text: str, node: int, is_first: bool) -> dict[str, Any]:
        role = {"role": "assistant"} if is_first and index else {}
        return self._chunk(index, {**role, "content": text}, node=node)

    def _finish(self, index: int, said: Response, node: int, too_much: bool) -> dict[str, Any]:
        """`kept`: the answer has only so many characters of what was sent."""
        chunk = self._chunk(index, {}, "length" if too_much else finish_reason(said), node)
        if too_much:
            chunk["choices"][0]["kept"] = len(said.text or "")
        return chunk

    def _failure(self, index: int, written: Written, turn: Turn) -> dict[str, Any]:
        """This choice is none; the others are not concerned."""
        chunk = self._chunk(index, {}, "error", written.node)
        chunk["choices"][0]["error"] = {"code": "answer_differs", "message": why_not(written.node, turn)}
        return chunk

    def _chunk(
        self, index: int, delta: dict[str, str], finish: str | None = None, node: int | None = None
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        if node is not None:
            choice["node"] = node
        return {**self._asked.head, "object": "chat.completion.chunk", "choices": [choice]}


def finish_reason(said: Response) -> str:
    return "stop" if said.cut is None else "length"


def frames(records: list[Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(record) for record in records)
