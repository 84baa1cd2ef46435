"""Ranking with the local model: the real one, and a server that reports no probabilities."""

from __future__ import annotations

import asyncio
from itertools import permutations
from pathlib import Path
from string import ascii_uppercase

import httpx
import pytest

from config.llm_settings import LlmSettings
from llm.chat_client import ChatClient
from llm.local_model.ranking import rank
from llm.local_model.rendezvous import ServerRendezvous
from llm.provider import Prompt, ProviderError, RankingBallot, Reply
from llm.providers.local import LocalProvider, find_model
from llm.ranking import ranking_prompt, read_ranking
from tests.unit.llm.llm_tools import question, said_json, stand_in

TIMEOUT_S = 180.0

BALLOTS = [
    RankingBallot("Name three mammals.", [
        "Dogs, cats and whales are three mammals.", "The weather is nice today and I like to swim.",
        "asdf qwer zxcv lkjh", "I cannot answer that.", "Sharks, lizards and frogs.",
    ]),
    RankingBallot("What is the capital of France?", [
        "The capital of France is Paris.", "The capital of France is Berlin.",
        "France is known for its cheese and wine.", "banana banana banana", "How to bake bread: mix flour and water.",
    ]),
    RankingBallot("Write a short poem about the sea.", [
        "The sea rolls in with silver foam,\nIt sings the sailors safely home.",
        "The stock market closed higher on Monday.", "2 + 2 = 4", "no", "The sea is a body of water.",
    ]),
    RankingBallot("How do I boil an egg?", [
        "Put the egg in boiling water for eight minutes, then cool it in cold water.", "Eggs are laid by birds.",
        "Elephants are the largest land animals.", "xx xx xx", "Put the egg in the freezer for a week.",
    ]),
    RankingBallot("Why is the sky blue?", [
        "The sky is blue because air scatters blue light from the sun more than red light.",
        "The sky is green because of grass.", "My favorite food is pizza.", "??", "Because it is Tuesday.",
    ]),
    RankingBallot("Give me a tip for sleeping better.", [
        "Go to bed at the same time every day and avoid screens before sleep.", "Drink a lot of coffee before bed.",
        "The French revolution began in 1789.", "blah blah", "Sleep is a state of rest.",
    ]),
    RankingBallot("Translate 'good morning' to Spanish.", [
        "Buenos días.", "Good morning.", "Guten Morgen.", "I like trains.", "Spanish is spoken in Spain.",
    ]),
    RankingBallot("What is 2 + 2?", [
        "2 + 2 is 4.", "2 + 2 is 7.", "Mathematics is a science.", "dog", "The moon orbits the earth.",
    ]),
]
"""On each the first answer is the best."""


async def order_of(provider: LocalProvider, ballot: RankingBallot) -> list[str]:
    """The answers, best first."""
    reply = await provider.ask(Prompt(ranking_prompt(ballot), ballot=ballot))
    assert reply.tokens_in
    order = read_ranking(reply.text, list(range(len(ballot.answers))))
    assert order is not None, reply.text
    return [ballot.answers[place] for place in order]


def test_the_better_answer_comes_first_much_more_often_than_by_chance(model_dir: Path) -> None:
    async def main() -> list[int]:
        provider = LocalProvider(LlmSettings(timeout_s=TIMEOUT_S), 1, model_dir)
        try:
            return [(await order_of(provider, ballot)).index(ballot.answers[0]) for ballot in BALLOTS]
        finally:
            await provider.close()

    places = asyncio.run(main())
    pairs = sum(4 - place for place in places)
    assert pairs >= 24, f"of 32 pairs; 16 would be chance, 28 were counted when this was written: {places}"
    assert places.count(0) >= 4, f"of 8; one or two would be chance: {places}"


def test_what_they_are_called_makes_no_difference(model_dir: Path) -> None:
    async def main() -> None:
        provider = LocalProvider(LlmSettings(timeout_s=TIMEOUT_S), 1, model_dir)
        answers = BALLOTS[0].answers[:3]
        ballots = [RankingBallot(BALLOTS[0].question, list(some)) for some in permutations(answers)]
        assert len({tuple(await order_of(provider, ballot)) for ballot in ballots}) == 1
        same = RankingBallot(BALLOTS[0].question, [answers[0], answers[0]])
        assert len(await order_of(provider, same)) == 2
        await provider.close()

    asyncio.run(main())


def tokens_read(model_dir: Path) -> int:
    """By the server, since it was started."""
    address = ServerRendezvous.of(model_dir, find_model(None)).find()
    assert address is not None
    with httpx.Client(trust_env=False, headers={"authorization": f"Bearer {address.token}"}) as client:
        told = client.get(f"{address.url}/metrics", timeout=TIMEOUT_S).text
    return next(int(line.split()[1]) for line in told.splitlines() if line.startswith("llamacpp:prompt_tokens_total "))


def test_five_nodes_that_rank_the_same_long_answers_read_them_once(model_dir: Path) -> None:
    answers = [f"Answer {number}. " + f"It says {number} and goes on and on. " * 20 for number in range(5)]

    async def main() -> None:
        nodes = [LocalProvider(LlmSettings(timeout_s=TIMEOUT_S), number, model_dir) for number in range(1, 6)]
        await nodes[0].ask(question("Say hello.", max_tokens=2))
        ballots = [RankingBallot("What does it say?", answers[number:] + answers[:number]) for number in range(5)]
        before = tokens_read(model_dir)
        await asyncio.gather(*(order_of(each, ballot) for each, ballot in zip(nodes, ballots, strict=True)))
        together = tokens_read(model_dir) - before
        before = tokens_read(model_dir)
        await order_of(nodes[0], RankingBallot("And what does it say now?", answers))
        alone = tokens_read(model_dir) - before
        assert alone > 500 and together < 2 * alone, f"{together} tokens were read for five, {alone} for one"
        for each in nodes:
            await each.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"choices": [{"message": {"content": "yes"}}]}, "does not report probabilities"),
        ({"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "Perhaps", "logprob": -0.1}]}]}}]},
         "has no opinion"),
        ({"choices": [{"logprobs": {"content": []}}]}, "has no opinion"),
        ({"choices": []}, "has no opinion"),
    ],
)
def test_without_an_opinion_it_abstains(body: object, reason: str) -> None:
    async def main(url: str) -> None:
        client = ChatClient("the server", url, "token")
        with pytest.raises(ProviderError, match=reason):
            await rank(client, "m", BALLOTS[0])
        await client.close()

    with stand_in(said_json(body)) as server:
        asyncio.run(main(server.url))


def test_probabilities_become_a_ranking() -> None:
    def said(yes: float, no: float) -> object:
        words = [{"token": "Yes", "logprob": yes}, {"token": " no", "logprob": no}]
        body = {"choices": [{"logprobs": {"content": [{"top_logprobs": words}]}}], "usage": {"prompt_tokens": 9}}
        return said_json(body)

    async def main(url: str) -> tuple[str, int]:
        client = ChatClient("the server", url, "token")
        try:
            return await rank(client, "m", RankingBallot("why?", ["c", "a", "b"]))
        finally:
            await client.close()

    with stand_in(said(-3, -1), said(-1, -1), said(-0.5, -2)) as server:  # type: ignore[arg-type]
        assert asyncio.run(main(server.url)) == ("A > C > B", 27)
    texts = [asked.body["messages"][0]["content"] for asked in server.asked]
    assert [text.split("Answer: ")[1][0] for text in texts] == ["a", "b", "c"], "one order for all nodes"
    assert [asked.body["id_slot"] for asked in server.asked] == [0, 1, 2]


def test_a_reply_is_told_as_any_other(model_dir: Path) -> None:
    async def main() -> Reply:
        provider = LocalProvider(LlmSettings(timeout_s=TIMEOUT_S), 1, model_dir)
        try:
            return await provider.ask(Prompt(ranking_prompt(BALLOTS[7]), ballot=BALLOTS[7]))
        finally:
            await provider.close()

    reply = asyncio.run(main())
    assert reply.model == find_model(None).stem and reply.seconds > 0
    assert set(reply.text.split(" > ")) == set(ascii_uppercase[:5])
