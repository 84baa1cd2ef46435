"""The HTTP API of real nodes, used by the unmodified `openai` package and the `llm` program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.cluster.harness import CALM, Cluster, until
from tests.free_ports import free_ports

NODES = (1, 2, 3)
WHY: list[Any] = [{"role": "user", "content": "Why?"}]
CHAT: list[Any] = [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "Nobody."}, {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
]


class Served:
    """A cluster with an HTTP API."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self.cluster = cluster
        self.port = port
        self.key = (cluster.folder / "data" / "http.key").read_text().strip()

    def url(self, node: int) -> str:
        return f"http://127.0.0.1:{self.port + node}"

    def client(self, node: int) -> OpenAI:
        return OpenAI(api_key=self.key, base_url=f"{self.url(node)}/v1", max_retries=0, timeout=30)

    def ready(self, node: int) -> bool:
        try:
            return httpx.get(f"{self.url(node)}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def post(self, node: int, path: str, body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.post(f"{self.url(node)}{path}", json=body, headers=headers, timeout=30)
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("http"), 0.2) as running:
        yield running


@contextlib.contextmanager
def serving(folder: Path, delay_s: float) -> Iterator[Served]:
    """A cluster whose answers take so long."""
    port = free_ports(len(NODES) + 1)
    llm = {"provider": "fake", "delay_s": delay_s}
    with Cluster(folder, len(NODES), llm, http={"port": port}, timing=CALM) as cluster:
        cluster.leader()
        until((cluster.folder / "data" / "http.key").exists)
        served = Served(cluster, port)
        until(lambda: all(map(served.ready, NODES)))
        yield served


def test_a_chat_completion_is_the_same_at_every_node_for_one_key(served: Served) -> None:
    assert [model.id for model in served.client(1).models.list()] == ["consensus", "ask", "node-1", "node-2", "node-3"]
    header = {"Idempotency-Key": "one"}
    said = [
        served.client(node).chat.completions.create(model="consensus", messages=CHAT, extra_headers=header)
        for node in NODES
    ]
    assert said[0] == said[1] == said[2] and said[0].usage is not None
    (choice,) = said[0].choices
    assert choice.finish_reason == "stop" and str(choice.message.content).startswith('Node ') and said[0].model_extra
    context = said[0].model_extra["consensus"]["context"]
    turns = served.cluster.nodes[2].ok(f"view {context}")["turns"]
    assert [turn["query"] for turn in turns] == ["Be brief.\n\nWho are you?", "Why?"] and turns[1]["chosen"]
    how: list[Any] = [{"role": "user", "content": "How?"}]
    for messages, words in ((WHY, "another request"), (how, "asks something else")):
        with pytest.raises(openai.ConflictError, match=words):
            served.client(1).chat.completions.create(model="consensus", messages=messages, extra_headers=header)


def test_each_model_answers_as_it_is_called(served: Served) -> None:
    client = served.client(2)
    by_node = client.chat.completions.create(model="node-3", messages=WHY)
    assert str(by_node.choices[0].message.content).startswith("Node 3 ")
    leader = served.cluster.leader()
    by_leader = client.chat.completions.create(model="ask", messages=WHY)
    assert str(by_leader.choices[0].message.content).startswith(f"Node {leader} ")
    every = client.chat.completions.create(model="consensus", messages=WHY, n=3)
    texts = [str(choice.message.content) for choice in every.choices]
    assert sorted(text[:7] for text in texts) == ["Node 1 ", "Node 2 ", "Node 3 "] and every.model_extra
    assert texts[0].startswith(f"Node {every.model_extra['consensus']['chosen']} "), "the chosen one first"


@pytest.mark.parametrize("count", [1, 3])
def test_a_stream_brings_every_choice_whole_and_then_the_usage(served: Served, count: int) -> None:
    stream = served.client(3).chat.completions.create(
        model="consensus", messages=WHY, n=count, stream=True, stream_options={"include_usage": True},
    )
    texts, finished, usage = [""] * count, 0, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finished += choice.finish_reason == "stop"
    assert finished == count and len(set(texts)) == count and all(text.startswith("Node ") for text in texts)
    assert usage is not None and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ({"model": "gpt"}, openai.NotFoundError, "the models are consensus, ask"),
        ({"n": 4}, openai.BadRequestError, "n is from 1 to 3"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "not supported"),
        ({"messages": [{"role": "user", "content": " "}]}, openai.BadRequestError, "the last message"),
        ({"messages": [{"role": "user", "content": "x" * 140_000}]}, openai.BadRequestError, "too long"),
        ({"messages": "Why?"}, openai.BadRequestError, "messages"),
        ({"metadata": {"context": "a b"}}, openai.BadRequestError, "without spaces"),
    ],
)
def test_errors_have_the_classes_that_clients_know(
    served: Served, request_: dict[str, Any], error: type[openai.APIStatusError], words: str
) -> None:
    with pytest.raises(error, match=words):
        served.client(1).chat.completions.create(**{"model": "consensus", "messages": WHY, **request_})


def test_a_named_chat_lasts_and_is_the_conversation_of_the_prompts(served: Served) -> None:
    client = served.client(1).with_options(default_headers={"X-OpenWebUI-Chat-Id": "web"})
    first = client.chat.completions.create(model="consensus", messages=WHY)
    longer = [*WHY, {"role": "assistant", "content": str(first.choices[0].message.content)},
              {"role": "user", "content": "And then?"}]
    client.chat.completions.create(model="ask", messages=longer)
    turns = served.cluster.nodes[3].ok("view web")["turns"]
    assert [(turn["query"], turn["kind"]) for turn in turns] == [("Why?", "query"), ("And then?", "ask")]


def test_conversations_and_responses_async(served: Served) -> None:
    async def scenario() -> None:
        one, two = (
            AsyncOpenAI(api_key=served.key, base_url=f"{served.url(node)}/v1", max_retries=0) for node in (1, 2)
        )
        async with one, two:
            made = await one.conversations.create(metadata={"context": "talk", "title": "Talk"})
            assert await two.conversations.retrieve(made.id) == made
            first = await two.responses.create(model="consensus", conversation=made.id, input="Why?")
            assert first.status == "completed" and first.output_text.startswith("Node ") and first.model_extra
            assert [said["node"] for said in first.model_extra["candidates"]] == [1, 2, 3]
            kinds, numbers, text = [], [], ""
            async for event in await one.responses.create(
                model="ask", previous_response_id=first.id, input="Who?", stream=True
            ):
                kinds.append(event.type)
                numbers.append(event.sequence_number)
                text += event.delta if event.type == "response.output_text.delta" else ""
            assert numbers == list(range(len(kinds))) and kinds[0] == "response.created"
            assert kinds[-1] == "response.completed" and text.startswith("Node ")
            titled = await one.conversations.update(made.id, metadata={"title": "Who is who"})
            assert titled.metadata == {"context": "talk", "title": "Who is who"}
            assert (await two.conversations.retrieve(made.id)).metadata == titled.metadata
            items = await two.conversations.items.list(made.id, order="asc", limit=3)
            assert [item.type for item in items.data] == ["message"] * 3 and items.has_more
            later = await two.responses.create(
                model="consensus", conversation="talk", input="Left open", background=True
            )
            assert later.status == "in_progress"
            with pytest.raises(openai.ConflictError, match="open question"):
                await one.responses.create(model="consensus", conversation="talk", input="Too early")
            chosen = await asyncio.to_thread(until, lambda: _chosen(served, later.id, 3))
            assert chosen["output"][0]["content"][0]["text"].startswith("Node 3 ")
            assert (await one.responses.retrieve(later.id)).status == "completed"
            assert (await one.conversations.delete(made.id)).deleted
            with pytest.raises(openai.NotFoundError):
                await two.conversations.retrieve(made.id)
            with pytest.raises(openai.NotFoundError):
                await two.responses.retrieve(first.id)
            with pytest.raises(openai.NotFoundError, match="no conversation"):
                await two.responses.create(model="ask", conversation="talk", input="Why?")

    asyncio.run(scenario())


def _chosen(served: Served, response: str, node: int) -> dict[str, Any] | None:
    """The response, once that node's answer is there and chosen."""
    answer = served.post(1, f"/v1/responses/{response}/choose", {"node": node})
    return None if "object" not in answer else answer


def test_the_llm_program_talks_to_a_node(served: Served, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: cluster\n  model_name: consensus\n  api_base: {served.url(2)}/v1\n  api_key_name: cluster\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"cluster": served.key}))
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}
    program = Path(sys.executable).with_name("llm")
    done = subprocess.run(
        [sys.executable, str(program), "-m", "cluster", "--no-log", "Why?"], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0 and done.stdout.startswith("Node "), done.stderr


@pytest.fixture
def slowly_served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, 3.0) as running:
        yield running


def test_a_node_that_leaves_or_dies_during_a_stream_costs_nothing(slowly_served: Served) -> None:
    """SIGTERM ends the stream in words, SIGKILL without any; another node gives the one answer either way."""
    served = slowly_served
    victim, other = (node for node in NODES if node != served.cluster.leader())
    for sign, expected in ((signal.SIGTERM, openai.APIError), (signal.SIGKILL, openai.APIConnectionError)):
        header = {"Idempotency-Key": f"signal-{sign}"}
        messages: list[Any] = [{"role": "user", "content": f"What is {sign}?"}]
        stream = served.client(victim).chat.completions.create(
            model="consensus", messages=messages, stream=True, extra_headers=header
        )
        served.cluster.nodes[victim].signal(sign)
        with pytest.raises(expected) as caught:
            for _ in stream:
                assert True
        assert sign is signal.SIGKILL or f"node {victim} leaves: try again at another node" in str(caught.value)
        again = [
            served.client(other).chat.completions.create(model="consensus", messages=messages, extra_headers=header)
            for _ in range(2)
        ]
        assert again[0] == again[1] and again[0].model_extra
        (turn,) = served.cluster.nodes[other].ok(f"view {again[0].model_extra['consensus']['context']}")["turns"]
        assert turn["candidates"][str(turn["chosen"])]["text"] == again[0].choices[0].message.content
        served.cluster.nodes[victim].popen.wait(20)
        served.cluster.start([victim])
        until(lambda: served.ready(victim))
