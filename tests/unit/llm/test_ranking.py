"""The nodes' choice: a prompt that does not tell whose answers they are, and what can be read as a ranking."""

from __future__ import annotations

import pytest

from config.llm_settings import LlmSettings
from kvstore.conversation import Kind, Poll, Response, Turn
from llm.provider import Prompt, RankingBallot
from llm.providers.fake import FakeProvider
from llm.ranking import ranking_ballot, ranking_prompt, read_ranking
from tests.unit.llm.llm_tools import conversation


def test_the_prompt_names_no_node_and_every_voter_has_another_order() -> None:
    candidates = {node: Response(f"text-{node}x", None, "some-model", 1) for node in (1, 2, 3, 4, 5)}
    talk = conversation("c", Turn(Kind.QUERY, "why?", candidates))
    ballots = [ranking_ballot(talk, 1, Poll(1, [1, 2, 4, 5]), voter) for voter in range(1, 6)]
    assert ballots == [ranking_ballot(talk, 1, Poll(1, [1, 2, 4, 5]), voter) for voter in range(1, 6)]
    assert len({tuple(nodes) for nodes, _ in ballots}) > 1
    for nodes, ballot in ballots:
        (message,) = ranking_prompt(ballot)
        assert ballot == RankingBallot("why?", [f"text-{node}x" for node in nodes])
        assert sorted(nodes) == [1, 2, 4, 5]
        assert "why?" in message.text and "text-3x" not in message.text
        assert "some-model" not in message.text and "node" not in message.text.lower()
        for label, node in zip("ABCD", nodes, strict=True):
            assert f"Answer {label}:\ntext-{node}x" in message.text


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("B > A > C", [20, 10, 30]), ("b > a > c", None), ("C, B, A.", [30, 20, 10]),
        ("1. **C**\n2. **A**\n3. **B**", [30, 10, 20]), ("Answer C, then Answer B and A", [30, 20, 10]),
        ("First A > B > C. No: C > A > B", [30, 10, 20]), ("A > B", None), ("A > B > B", None), ("A > B > D", None),
        ("", None), ("I like A. B is bad, C too.", None), ("A\n" * 60_000 + "B > C > A", [20, 30, 10]),
    ],
)
def test_reading_a_ranking(text: str, order: list[int] | None) -> None:
    assert read_ranking(text, [10, 20, 30]) == order


def test_the_fake_ranks_too() -> None:
    talk = conversation("c", Turn(Kind.QUERY, "why?", {node: Response("x", None, "m", 1) for node in (1, 2, 3)}))
    nodes, ballot = ranking_ballot(talk, 1, Poll(1, [1, 2, 3]), 2)
    answer = FakeProvider(LlmSettings(), 2)._answer(Prompt(ranking_prompt(ballot), ballot=ballot))
    order = read_ranking(answer, nodes)
    assert order is not None and sorted(order) == [1, 2, 3]
