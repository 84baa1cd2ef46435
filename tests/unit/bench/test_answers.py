"""The report of bench.answers: what each way of choosing got right, and what no way could."""

from __future__ import annotations

from bench.answers import Asked, report
from bench.questions import Question
from kvstore.conversation import Kind, Poll, Response, Turn, Vote


def asked(*answers: str, first: int) -> Asked:
    """Of a question to which "Paris" is right; every node ranks the answer of node `first` first."""
    nodes = range(1, len(answers) + 1)
    turn = Turn(Kind.QUERY, "Which?", {
        node: Response(text, None, f"model {node}", 0.1) for node, text in zip(nodes, answers, strict=True)
    })
    order = [first, *(node for node in nodes if node != first)]
    turn.poll = Poll(1, turn.choices, {node: Vote(order, None, "model") for node in nodes})
    return Asked(Question("capitals", "Which?", ("Paris",)), turn, [3] * len(answers), 0.5)


def shares(text: str) -> dict[str, float]:
    return {name.rstrip(): float(share.rstrip(" %")) for name, share in (
        (line[:14], line[14:]) for line in text.splitlines() if line.endswith("%") and line[14] == " "
    )}


def test_a_right_answer_that_stands_alone_is_the_best_possible_choice_and_not_one_that_agreement_can_find() -> None:
    found = shares(report([
        asked("Paris it is.", "Paris it is.", "Rome it is.", first=3),
        asked("Paris it is.", "Rome it is.", "Rome it is.", first=1),
        asked("Bonn it is.", "Rome it is.", "Rome it is.", first=1),
        asked("Paris it is.", "Paris it is.", "Paris it is.", first=1),
    ]))
    assert found == {
        "a node alone": 50.0, "rankings": 50.0, "agreement": 50.0, "both": 50.0,
        "right at two": 50.0, "best possible": 75.0,
    }


def test_the_first_of_the_rankings_is_what_they_choose() -> None:
    found = shares(report([asked("Rome it is.", "Paris it is.", "Rome it is.", first=2)]))
    assert (found["rankings"], found["agreement"], found["best possible"]) == (100.0, 0.0, 100.0)
    assert found["right at two"] == 0.0
