"""Conversations in a browser, and answers as they are written, at real nodes whose LLMs write what the test says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from openai import OpenAI

from tests.web.browsing import Site, site
from tests.web.writing_llm import WritingLlm, writing_llm

NODES = (1, 2, 3, 4, 5)
WHY: list[Any] = [{"role": "user", "content": "Why?"}]


class Talk(NamedTuple):
    site: Site
    llm: WritingLlm

    def client(self, node: int) -> OpenAI:
        return OpenAI(
            api_key=self.site.key, base_url=f"http://127.0.0.1:{self.site.port + node}/v1", max_retries=0, timeout=30
        )


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    with writing_llm() as llm, site(tmp_path_factory.mktemp("talk"), len(NODES), llm.llm) as running:
        yield Talk(running, llm)


def test_openais_client_gets_words_before_the_answer_is_complete(talk: Talk) -> None:
    """Each word is awaited before the LLM writes the next one: none of this can pass with whole answers."""
    writing = talk.llm.question("Why?")
    stream = talk.client(1).chat.completions.create(model="node-3", messages=WHY, stream=True)
    text = ""
    for word in ("Because", " of", " it"):
        writing.writes(3, word)
        expected = text + word
        while text != expected:
            text += next(stream).choices[0].delta.content or ""
    writing.ends(3, ".")
    rest = [choice for chunk in stream for choice in chunk.choices]
    text += "".join(choice.delta.content or "" for choice in rest)
    assert text == "Because of it." and rest[-1].finish_reason == "stop"


def test_openais_client_learns_that_what_it_was_sent_does_not_stand(talk: Talk) -> None:
    writing = talk.llm.question("Why not?")
    header = {"Idempotency-Key": "does-not-stand"}
    stream = talk.client(2).responses.create(model="node-4", input="Why not?", stream=True, extra_headers=header)
    writing.writes(4, "Because")
    assert any(event.type == "response.output_text.delta" and event.delta == "Because" for event in stream)
    writing.breaks_off(4)
    writing.ends(4, "No.")  # asked again
    last = list(stream)[-1]
    assert last.type == "error" and "node 4 began again with something else" in last.message
    again = talk.client(5).responses.create(model="node-4", input="Why not?", extra_headers=header)
    assert again.output_text == "No.", "the answer is there for whoever asks again"
