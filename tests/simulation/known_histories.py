"""Histories known to be linearizable or not, and the words to write them down."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tests.simulation.history import Args, Call, Op, Result, SeenTurn

OK = Result(True)
NO = Result(False)


def call(process: str, op: Op, start: float, end: float | None, result: Result | None = OK, **args: object) -> Call:
    """A call about conversation c; without a time of return it is open."""
    what = msgspec.convert({"context": "c", **args}, Args)
    return Call(process, op, what, start, end, None if end is None else result)


def view(
    process: str, start: float, end: float, *turns: SeenTurn, stale: bool = False, context: str = "c",
    system: str | None = None, auto: bool | None = None,
) -> Call:
    shown = Result(True, turns=turns, system=system, auto=auto, stale=stale)
    return call(process, "view", start, end, shown, context=context)


def no_such(process: str, start: float, end: float, context: str = "c") -> Call:
    return call(process, "view", start, end, NO, context=context)


CREATED = call("a", "create", 0, 1)
ASKED = (CREATED, call("a", "query", 2, 3, text="Q"))
ANSWERED = (*ASKED, call("n1", "candidate", 4, 5, turn=1, node=1, text="A1"),
            call("n2", "candidate", 4, 5, turn=1, node=2, text="A2"))  # fmt: skip
CHOSEN = (*ANSWERED, call("a", "choose", 6, 7, node=1))
SYNTH = (*ANSWERED, call("a", "synth", 8, 9, Result(True, turn=1)))
AGAIN = (*ANSWERED, call("a", "retry", 6, 7))
AGAIN_1 = (*ANSWERED, call("a", "retry", 6, 7, node=1))
FAILED_ASK = (CREATED, call("a", "ask", 2, 3, text="Q"), call("n1", "answer", 4, 5, turn=1, node=1, text=None, round=0))
ONCE = (call("a", "once", 0, 1, Result(True, turn=1), text="K"), call("a", "cancel", 2, 3),
        call("a", "once", 4, 5, Result(True, turn=2), text="L"), call("a", "cancel", 6, 7))  # fmt: skip
KEYED_TURNS = (SeenTurn("K", cancelled=True), SeenTurn("L", cancelled=True))
DELETED = (call("a", "once", 2, 3, text="K"), call("a", "delete", 4, 5))
RENAMED = (*ONCE, call("a", "rename", 8, 9, name="d"))
FORKED = (*ONCE, call("a", "fork", 8, 9, Result(True, turn=1), name="d", turn=1))
OPEN_Q = SeenTurn("Q")
BOTH = SeenTurn("Q", {1: "A1", 2: "A2"})
ONLY_1 = SeenTurn("Q", {1: "A1"})
ONLY_2 = SeenTurn("Q", {2: "A2"})
CHOSE_1 = SeenTurn("Q", {1: "A1", 2: "A2"}, chosen=1)
CHOSE_2 = SeenTurn("Q", {1: "A1", 2: "A2"}, chosen=2)

GOOD: dict[str, Sequence[Call]] = {
    "nothing happened": (),
    "one after the other": (*CHOSEN, view("b", 8, 9, CHOSE_1)),
    "a view during a query shows it": (CREATED, call("a", "query", 2, 9, text="Q"), view("b", 3, 4, OPEN_Q)),
    "a view during a query does not": (CREATED, call("a", "query", 2, 9, text="Q"), view("b", 3, 4)),
    "times that touch overlap": (CREATED, no_such("b", 1, 2)),
    "two creates, one refused": (CREATED, call("b", "create", 0, 1, NO)),
    "refused before the other was answered": (call("a", "create", 0, 9), call("b", "create", 1, 2, NO)),
    "an open create took effect": (call("a", "create", 0, None), no_such("b", 1, 2), view("b", 9, 10)),
    "an open create never did": (call("a", "create", 0, None), no_such("b", 98, 99)),
    "two creates of which one stays open": (call("a", "create", 0, None), call("b", "create", 5, 6)),
    "an open query between two views": (CREATED, call("b", "query", 2, None, text="Q"), view("a", 3, 4),
                                        view("a", 5, 6, OPEN_Q)),
    "a query refused because of one that is open": (CREATED, call("b", "query", 2, None, text="Q"),
                                                    call("a", "query", 3, 4, NO, text="R")),
    "choices overlap, one wins": (*ANSWERED, call("a", "choose", 6, 9, node=1), call("b", "choose", 6, 9, NO, node=2),
                                  view("a", 10, 11, CHOSE_1)),
    "an open choice beats a later one": (*ANSWERED, call("a", "choose", 6, None, node=1),
                                         call("b", "choose", 8, 9, NO, node=2), view("a", 10, 11, CHOSE_1)),
    "an open choice comes too late": (*ANSWERED, call("a", "choose", 6, None, node=1),
                                      call("b", "choose", 8, 9, node=2), view("a", 10, 11, CHOSE_2)),
    "a choice in each of two turns": (*CHOSEN, call("b", "query", 8, 9, text="R"),
                                      call("n1", "candidate", 9, None, turn=2, node=1, text="B"),
                                      call("b", "choose", 10, 11, node=1)),
    "cancelled, then asked again": (*ASKED, call("b", "cancel", 4, 5), call("b", "query", 6, 7, text="R"),
                                    view("a", 8, 9, SeenTurn("Q", cancelled=True), SeenTurn("R"))),
    "a stale view shows the past": (*CHOSEN, view("b", 8, 9, OPEN_Q, stale=True)),
    "typed ahead, done in order": (call("a", "create", 0, 9), call("a", "query", 0, 9, text="Q")),
    "an answer of the leader": (CREATED, call("a", "ask", 2, 9, text="Q"),
                                call("n1", "answer", 3, 4, turn=1, node=1, text=None),
                                view("b", 5, 6, SeenTurn("Q", {1: None}, kind="ask")),
                                call("n1", "answer", 5, None, turn=1, node=1, text="A"),
                                view("b", 7, 8, SeenTurn("Q", {1: "A"}, chosen=1, kind="ask"))),
    "refused, as the answer came later": (*ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
                                          call("a", "choose", 5, 6, NO, node=1)),
    "refused, as not even another answer was there": (
        *ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
        call("a", "choose", 5, 6, Result(False, "nothing"), node=2)),
    "of two answers of a node, the first was not the failure": (
        *ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text=None),
        call("n1", "candidate", 4, None, turn=1, node=1, text="A"), call("a", "choose", 6, 7, node=1)),
    "of two answers of a node, the first was the failure": (
        *ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A"),
        call("n1", "candidate", 4, None, turn=1, node=1, text=None),
        call("a", "choose", 6, 7, Result(False, "failed"), node=1)),
    "of two equal open queries, the second came first": (
        CREATED, call("b", "query", 2, None, text="Q"), call("a", "query", 3, None, text="Q"),
        call("a", "cancel", 4, 5), view("c", 6, 7, SeenTurn("Q", cancelled=True), OPEN_Q)),
    "asked again, all answers are gone": (*AGAIN, view("b", 8, 9, OPEN_Q)),
    "one node asked again, its answer is gone": (*AGAIN_1, view("b", 8, 9, ONLY_2)),
    "asked again, and answered": (*AGAIN_1, call("n1", "candidate", 8, 9, turn=1, node=1, text="B", round=1),
                                  view("b", 10, 11, SeenTurn("Q", {1: "B", 2: "A2"}))),
    "a view during a retry shows what it takes away": (*ANSWERED, call("a", "retry", 6, 9), view("b", 7, 8, BOTH)),
    "a view during a retry does not": (*ANSWERED, call("a", "retry", 6, 9), view("b", 7, 8, OPEN_Q)),
    "an open retry between two views": (*ANSWERED, call("b", "retry", 6, None), view("a", 7, 8, BOTH),
                                        view("a", 9, 10, OPEN_Q)),
    "an open retry never was done": (*ANSWERED, call("b", "retry", 6, None), view("a", 98, 99, BOTH)),
    "the same answers again": (*AGAIN, call("n1", "candidate", 8, 9, turn=1, node=1, text="A1", round=1),
                               call("n2", "candidate", 8, 9, turn=1, node=2, text="A2", round=1),
                               view("b", 10, 11, BOTH)),
    "answers come and go twice": (*ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
                                  call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
                                  call("b", "retry", 4, None), call("c", "retry", 4, None),
                                  view("a", 5, 6, ONLY_1), view("a", 7, 8, OPEN_Q), view("a", 9, 10, ONLY_1),
                                  view("a", 11, 12, OPEN_Q)),
    "an answer of an earlier round is refused": (
        *ASKED, call("n1", "candidate", 4, 9, Result(False, "again"), turn=1, node=1, text="A1", round=0),
        call("a", "retry", 5, 6), view("b", 10, 11, OPEN_Q)),
    "an answer of an earlier round came before": (
        *ASKED, call("n1", "candidate", 4, 9, turn=1, node=1, text="A1", round=0), call("a", "retry", 5, 6),
        view("b", 10, 11, OPEN_Q)),
    "a retry and a choice overlap, the choice wins": (*ANSWERED, call("a", "choose", 6, 9, node=1),
                                                      call("b", "retry", 6, 9, Result(False, "closed"))),
    "a retry and a choice overlap, the retry wins": (*ANSWERED, call("b", "retry", 6, 9),
                                                     call("a", "choose", 6, 9, Result(False, "nothing"), node=1)),
    "a retry without a turn means the one that is open then": (
        *CHOSEN, call("b", "query", 8, 9, text="R"), call("a", "retry", 10, 11, Result(True, turn=2)),
        view("b", 12, 13, CHOSE_1, SeenTurn("R"))),
    "an ask that failed is asked again": (*FAILED_ASK, call("a", "retry", 6, 7, node=1),
                                          call("n1", "answer", 8, 9, turn=1, node=1, text="A", round=1),
                                          view("b", 10, 11, SeenTurn("Q", {1: "A"}, chosen=1, kind="ask"))),
    "an ask is not asked again at a node that has not failed": (
        *FAILED_ASK, call("a", "retry", 6, 7, Result(False, "not failed"), node=2)),
    "a question with a key is asked once": (*ONCE, call("b", "once", 8, 9, Result(True, turn=1), text="K")),
    "the same key at two nodes at once": (call("a", "once", 0, 9, Result(True, turn=1), text="K"),
                                          call("b", "once", 0, 9, Result(True, turn=1), text="K")),
    "another key while a question is open": (call("a", "once", 0, 1, text="K"), call("b", "once", 2, 3, NO, text="L")),
    "a full conversation, refused behind a call that is open": (
        call("a", "once", 0, 1, Result(True, turn=1), text="K"), call("b", "cancel", 2, None),
        call("a", "cancel", 2, 3), call("b", "once", 4, 5, Result(False, "full", 2), text="L"),
        call("b", "cancel", 6, 7, Result(False, "closed")), view("b", 8, 9, SeenTurn("K", cancelled=True))),
    "deleted, and made anew": (*DELETED, no_such("b", 8, 9), call("b", "once", 10, 11, Result(True, turn=1), text="K")),
    "an open deletion between two views": (*ONCE, call("a", "delete", 8, None), view("b", 9, 10, *KEYED_TURNS),
                                           no_such("b", 11, 12)),
    "called otherwise": (*RENAMED, no_such("b", 10, 11), view("b", 10, 11, *KEYED_TURNS, context="d"),
                         call("b", "rename", 12, 13, Result(False, "unknown"), name="e"),
                         call("b", "rename", 12, 13, name="c", context="d"), view("b", 14, 15, *KEYED_TURNS)),
    "not called otherwise while it is open": (
        *ASKED, call("b", "rename", 4, 5, Result(False, "open"), name="d"),
        call("b", "cancel", 6, 7), call("b", "rename", 8, 9, name="d"),
        view("b", 10, 11, SeenTurn("Q", cancelled=True), context="d")),
    "forked, each with turns of its own": (
        *FORKED, call("b", "query", 10, 11, Result(True, turn=2), text="R", context="d"),
        view("b", 12, 13, *KEYED_TURNS),
        view("b", 12, 13, SeenTurn("K", cancelled=True), SeenTurn("R"), context="d"),
        call("b", "fork", 14, 15, Result(False, "open"), context="d", name="e", turn=2),
        call("b", "fork", 14, 15, Result(False, "exists"), context="d", name="c"),
        call("b", "fork", 14, 15, Result(False, "no turn"), context="d", name="c", turn=3)),
    "a system prompt, and a fork that has it": (
        CREATED, call("a", "system", 2, 3, text="S"), view("b", 4, 5, system="S"), call("a", "fork", 6, 7, name="d"),
        call("a", "system", 8, 9, text=""), view("b", 10, 11, system=""), view("b", 10, 11, system="S", context="d")),
    "the nodes choose, and in a fork, too": (
        CREATED, call("a", "auto", 2, 3, text="on"), view("b", 4, 5, auto=True), call("a", "fork", 6, 7, name="d"),
        call("a", "auto", 8, 9, text="off"), view("b", 10, 11, auto=False), view("b", 10, 11, auto=True, context="d")),
    "another answer takes the place of the first, and then a question comes first": (
        CREATED, call("a", "ask", 2, 3, text="Q"), call("n1", "answer", 4, 5, turn=1, node=1, text="A1"),
        call("a", "regenerate", 6, 7, Result(True, turn=1)),
        view("b", 8, 9, SeenTurn("Q", {1: "A1"}, 1, kind="ask", awaits=True)),
        call("n2", "answer", 10, 11, turn=1, node=2, text="A2"),
        view("b", 12, 13, SeenTurn("Q", {2: "A2"}, 2, kind="ask")), call("a", "regenerate", 14, 15),
        call("a", "query", 16, 17, text="R"), call("n1", "answer", 18, 19, NO, turn=1, node=1, text="A3"),
        call("a", "regenerate", 20, 21, NO, turn=1), call("a", "regenerate", 20, 21, Result(False, "kind")),
        view("b", 22, 23, SeenTurn("Q", {2: "A2"}, 2, kind="ask"), SeenTurn("R"))),
    "an answer out of the others, in place of an earlier one, and chosen": (
        *SYNTH, view("b", 10, 11, SeenTurn("Q", {1: "A1", 2: "A2"}, awaits=True)),
        call("b", "synth", 10, 11, Result(False, "awaited")),
        call("n2", "synthesis", 12, 13, turn=1, node=2, text="S1", round=1),
        view("b", 14, 15, SeenTurn("Q", {0: "S1", 1: "A1", 2: "A2"})), call("a", "synth", 16, 17, node=1),
        call("n2", "synthesis", 18, 19, Result(False, "not asked"), turn=1, node=2, text="S2", round=2),
        call("n1", "synthesis", 20, 21, turn=1, node=1, text="S3", round=2), call("a", "choose", 22, 23, node=0),
        view("b", 24, 25, SeenTurn("Q", {0: "S3", 1: "A1", 2: "A2"}, 0))),
    "an answer out of others that are asked for again": (
        *SYNTH, call("n2", "synthesis", 10, 11, turn=1, node=2, text="S1", round=1), call("a", "synth", 12, 13),
        call("a", "retry", 14, 15, node=1), view("b", 16, 17, SeenTurn("Q", {2: "A2"})),
        call("n2", "synthesis", 18, 19, Result(False, "over"), turn=1, node=2, text="S2", round=2),
        call("a", "synth", 20, 21, Result(False, "too few"))),
    "an answer out of the others that fails": (
        *SYNTH, call("n2", "synthesis", 10, 11, turn=1, node=2, round=1), view("b", 12, 13, BOTH),
        call("a", "choose", 14, 15, Result(False, "no answer"), node=0), call("a", "synth", 16, 17)),
    "an answer to an earlier asking, when another one is asked for": (
        CREATED, call("a", "ask", 2, 3, text="Q"), call("n1", "answer", 4, 5, turn=1, node=1, text="A1", round=0),
        call("a", "regenerate", 6, 7),
        call("n2", "answer", 8, 9, Result(False, "again"), turn=1, node=2, text="A2", round=0),
        call("n2", "answer", 10, 11, turn=1, node=2, text="A3", round=1)),
    "deleted, and brought back": (*DELETED, call("b", "undelete", 6, 7), view("b", 8, 9, SeenTurn("K")),
                                  call("b", "undelete", 10, 11, Result(False, "unknown"))),
    "not brought back over another": (
        *DELETED, call("b", "create", 6, 7), call("b", "undelete", 8, 9, Result(False, "exists")), view("b", 10, 11),
        call("b", "rename", 12, 13, name="d"), call("b", "undelete", 14, 15), view("b", 16, 17, SeenTurn("K"))),
    "the last one that was deleted is brought back": (
        *DELETED, call("b", "create", 6, 7), call("b", "delete", 8, 9), call("b", "undelete", 10, 11),
        view("b", 12, 13), call("b", "delete", 14, 15), call("b", "undelete", 16, 17), view("b", 18, 19)),
    "an open fork between two views": (*ONCE, call("a", "fork", 8, None, name="d"), no_such("b", 9, 10, "d"),
                                       view("b", 11, 12, *KEYED_TURNS, context="d")),
}  # fmt: skip

BAD: dict[str, Sequence[Call]] = {
    "stale read": (*ASKED, view("b", 4, 5)),
    "acknowledged create is missing": (CREATED, no_such("b", 2, 3)),
    "acknowledged create is missing later": (CREATED, view("b", 2, 3), no_such("b", 4, 5)),
    "double create": (CREATED, call("b", "create", 0, 1)),
    "create refused, but nobody created": (call("b", "create", 0, 1, NO), no_such("a", 2, 3)),
    "refused because of a create that came later": (call("b", "create", 0, 1, NO), call("a", "create", 2, 3)),
    "lost update": (CREATED, call("a", "query", 2, 3, text="Q"), call("b", "cancel", 4, 5),
                    call("b", "query", 6, 7, text="R"), view("a", 8, 9, SeenTurn("R"))),
    "lost update, both overwrote one turn": (CREATED, call("a", "query", 2, 9, Result(True, turn=1), text="Q"),
                                             call("b", "query", 2, 9, Result(True, turn=1), text="R")),
    "two queries while the question is open": (CREATED, call("a", "query", 2, 9, text="Q"),
                                               call("b", "query", 2, 9, text="R")),
    "two choices acknowledged": (*ANSWERED, call("a", "choose", 6, 9, node=1), call("b", "choose", 6, 9, node=2)),
    "the view shows another choice than was acknowledged": (*CHOSEN, view("b", 8, 9, CHOSE_2)),
    "two views disagree": (*ANSWERED, call("a", "choose", 6, None, node=1), call("b", "choose", 6, None, node=2),
                           view("a", 7, 9, CHOSE_1), view("b", 7, 9, CHOSE_2)),
    "view going backwards": (*ANSWERED, call("a", "choose", 6, None, node=1), view("a", 7, 8, CHOSE_1),
                             view("b", 9, 10, BOTH)),
    "choice of a node that did not answer": (*ASKED, call("a", "choose", 4, 5, node=1)),
    "choice of an answer that came later": (*ASKED, call("a", "choose", 4, 5, node=1),
                                            call("n1", "candidate", 6, None, turn=1, node=1, text="A1")),
    "choice of a failure": (*ASKED, call("n1", "candidate", 4, 5, turn=1, node=1, text=None),
                            call("a", "choose", 6, 7, node=1)),
    "choice refused without a reason": (*ANSWERED, call("a", "choose", 6, 7, NO, node=1)),
    "choice refused for a wrong reason": (*ANSWERED, call("a", "choose", 6, 7, Result(False, "closed"), node=3)),
    "choice in a turn that is over": (*CHOSEN, call("b", "query", 8, 9, text="R"),
                                      call("b", "choose", 10, 11, node=1, turn=1)),
    "read from the future": (CREATED, view("b", 2, 3, OPEN_Q), call("a", "query", 4, 5, text="Q")),
    "read of something nobody wrote": (*ASKED, view("b", 4, 5, SeenTurn("nobody asked that"))),
    "stale view of what never was": (*CHOSEN, view("b", 8, 9, CHOSE_2, stale=True)),
    "stale view from the future": (CREATED, view("b", 2, 3, OPEN_Q, stale=True), call("a", "query", 4, 5, text="Q")),
    "a candidate vanishes": (*ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
                             view("a", 5, 6, SeenTurn("Q", {1: "A1"})), view("a", 7, 8, OPEN_Q)),
    "a candidate changes": (*ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
                            call("n1", "candidate", 4, None, turn=1, node=1, text="B1"),
                            view("a", 5, 6, SeenTurn("Q", {1: "A1"})), view("a", 7, 8, SeenTurn("Q", {1: "B1"}))),
    "an operation done twice": (CREATED, call("a", "query", 2, 3, text="Q"), call("b", "cancel", 4, 5),
                                view("a", 6, 7, SeenTurn("Q", cancelled=True), OPEN_Q)),
    "an open query done twice": (CREATED, call("a", "query", 2, None, text="Q"), call("b", "cancel", 4, 5),
                                 view("a", 6, 7, SeenTurn("Q", cancelled=True), OPEN_Q)),
    "wrong turn number": (CREATED, call("a", "query", 2, 3, Result(True, turn=2), text="Q")),
    "asked while the leader's answer is due": (CREATED, call("a", "ask", 2, 3, text="Q"),
                                               call("a", "query", 4, 5, text="R")),
    "two answers of leaders": (CREATED, call("a", "ask", 2, 3, text="Q"),
                               call("n1", "answer", 4, 9, turn=1, node=1, text="A"),
                               call("n2", "answer", 4, 9, turn=1, node=2, text="B")),
    "lost retry": (*AGAIN, view("b", 8, 9, BOTH)),
    "lost retry of one node": (*AGAIN_1, view("b", 8, 9, BOTH)),
    "a retry of one node takes away another's answer": (*AGAIN_1, view("b", 8, 9, OPEN_Q)),
    "a retry of one node takes away only another's answer": (*AGAIN_1, view("b", 8, 9, ONLY_1)),
    "a retry of all nodes spares one": (*AGAIN, view("b", 8, 9, ONLY_1)),
    "an answer of an earlier round is shown after the retry": (
        *ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A1", round=0), call("a", "retry", 5, 6),
        view("b", 7, 8, ONLY_1)),
    "an answer of an earlier round is accepted": (
        *AGAIN, call("n1", "candidate", 8, 9, turn=1, node=1, text="A1", round=0)),
    "an answer of this round is refused": (
        *AGAIN, call("n1", "candidate", 8, 9, Result(False, "again"), turn=1, node=1, text="B", round=1)),
    "an answer is chosen after it was taken away": (*AGAIN, call("b", "choose", 8, 9, node=1)),
    "a retry of a chosen turn": (*CHOSEN, call("b", "retry", 8, 9)),
    "a retry of a cancelled turn": (*ASKED, call("a", "cancel", 4, 5), call("b", "retry", 6, 7)),
    "a retry of another turn than the open one": (*CHOSEN, call("b", "query", 8, 9, text="R"),
                                                  call("a", "retry", 10, 11, turn=1)),
    "a retry that says it changed a closed turn": (*CHOSEN, call("b", "query", 8, 9, text="R"),
                                                   call("a", "retry", 10, 11, Result(True, turn=1))),
    "a retry without a question": (CREATED, call("a", "retry", 2, 3)),
    "a retry refused without a reason": (*ANSWERED, call("a", "retry", 6, 7, NO)),
    "answers vanish before the retry": (*ANSWERED, view("b", 6, 7, OPEN_Q), call("a", "retry", 8, 9)),
    "answers vanish twice with one retry": (*ASKED, call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
                                            call("n1", "candidate", 4, None, turn=1, node=1, text="A1"),
                                            call("b", "retry", 4, None), view("a", 5, 6, ONLY_1),
                                            view("a", 7, 8, OPEN_Q), view("a", 9, 10, ONLY_1),
                                            view("a", 11, 12, OPEN_Q)),
    "a retry done twice": (*AGAIN, call("n1", "candidate", 8, 9, turn=1, node=1, text="B", round=1),
                           view("b", 10, 11, OPEN_Q)),
    "two answers of one round": (*ASKED, call("n1", "candidate", 4, 5, turn=1, node=1, text="A1"),
                                 call("n1", "candidate", 6, 7, turn=1, node=1, text="B1"), call("a", "retry", 8, 9)),
    "a single failed node is asked again that has not failed": (*FAILED_ASK, call("a", "retry", 6, 7, node=2)),
    "an ask forgets a failure of another node": (*FAILED_ASK, call("a", "retry", 6, 7, node=1),
                                                 view("b", 8, 9, SeenTurn("Q", {1: None}, kind="ask"))),
    "a question with a key asked twice": (*ONCE, call("b", "once", 8, 9, Result(True, turn=3), text="K")),
    "nothing is left of what was deleted": (*DELETED, view("b", 8, 9, SeenTurn("K"))),
    "a deletion that deleted nothing": (*DELETED, call("b", "query", 8, 9, text="R")),
    "deleted twice": (*DELETED, call("b", "delete", 8, 9)),
    "keys outlive a deletion": (*DELETED, call("b", "once", 8, 9, text="L"), call("b", "cancel", 10, 11),
                                call("b", "once", 12, 13, Result(True, turn=1), text="K")),
    "a system prompt that is not shown": (CREATED, call("a", "system", 2, 3, text="S"), view("b", 4, 5, system="")),
    "a system prompt outlives its conversation": (
        CREATED, call("a", "system", 2, 3, text="S"), call("a", "delete", 4, 5), call("a", "create", 6, 7),
        view("b", 8, 9, system="S")),
    "that the nodes choose is not shown": (
        CREATED, call("a", "auto", 2, 3, text="on"), view("b", 4, 5, auto=False)),
    "the nodes choose in the next of this name": (
        CREATED, call("a", "auto", 2, 3, text="on"), call("a", "delete", 4, 5), call("a", "create", 6, 7),
        view("b", 8, 9, auto=True)),
    "another answer that nobody asked for": (
        CREATED, call("a", "ask", 2, 3, text="Q"), call("n1", "answer", 4, 5, turn=1, node=1, text="A1"),
        call("a", "regenerate", 6, 7, NO, turn=1), call("n2", "answer", 8, 9, turn=1, node=2, text="A2")),
    "the answer is gone before another one is in": (
        CREATED, call("a", "ask", 2, 3, text="Q"), call("n1", "answer", 4, 5, turn=1, node=1, text="A1"),
        call("a", "regenerate", 6, 7), view("b", 8, 9, SeenTurn("Q", kind="ask"))),
    "an answer to an earlier asking takes the place of the one that stands": (
        CREATED, call("a", "ask", 2, 3, text="Q"), call("n1", "answer", 4, 5, turn=1, node=1, text="A1", round=0),
        call("a", "regenerate", 6, 7), call("n2", "answer", 8, 9, turn=1, node=2, text="A2", round=0)),
    "that an answer out of the others is awaited is not shown": (*SYNTH, view("b", 10, 11, BOTH)),
    "it is awaited although one is chosen": (
        *SYNTH, call("a", "choose", 10, 11, node=1),
        view("b", 12, 13, SeenTurn("Q", {1: "A1", 2: "A2"}, 1, awaits=True))),
    "an answer out of the others that nobody asked for": (
        *ANSWERED, call("n1", "synthesis", 8, 9, turn=1, node=1, text="S1", round=1), call("a", "synth", 10, 11)),
    "an answer out of the others of an earlier round": (
        *SYNTH, call("n2", "synthesis", 10, 11, turn=1, node=2, text="S1", round=1), call("a", "synth", 12, 13),
        call("n2", "synthesis", 14, 15, turn=1, node=2, text="S2", round=1)),
    "an answer out of the others by another node than was asked": (
        *ANSWERED, call("a", "synth", 8, 9, node=1), call("n2", "synthesis", 10, 11, turn=1, node=2, text="S1")),
    "an answer out of the others after the choice": (
        *SYNTH, call("a", "choose", 10, 11, node=1), call("n2", "synthesis", 12, 13, turn=1, node=2, text="S1")),
    "an answer out of the others chosen before it was in": (
        *SYNTH, call("a", "choose", 10, 11, node=0)),
    "an answer out of what is gone is still there": (
        *SYNTH, call("n2", "synthesis", 10, 11, turn=1, node=2, text="S1", round=1), call("a", "retry", 12, 13, node=1),
        view("b", 14, 15, SeenTurn("Q", {0: "S1", 2: "A2"}))),
    "brought back twice": (*DELETED, call("b", "undelete", 6, 7), call("b", "undelete", 8, 9)),
    "brought back without its turns": (*DELETED, call("b", "undelete", 6, 7), view("b", 8, 9)),
    "brought back over another": (*DELETED, call("b", "create", 6, 7), call("b", "undelete", 8, 9)),
    "two names": (*RENAMED, view("b", 10, 11, *KEYED_TURNS)),
    "another name, without its turns": (*RENAMED, view("b", 10, 11, context="d")),
    "called otherwise twice": (*RENAMED, call("b", "rename", 10, 11, name="e")),
    "a fork with more than was asked for": (*FORKED, view("b", 10, 11, *KEYED_TURNS, context="d")),
    "a fork that takes its source away": (*FORKED, no_such("b", 10, 11)),
    "a fork that grows with its source": (*FORKED, call("b", "query", 10, 11, text="R"),
                                          view("b", 12, 13, SeenTurn("K", cancelled=True), SeenTurn("R"), context="d")),
    "a fork of what is open": (*ASKED, call("b", "fork", 4, 5, name="d"), view("b", 6, 7, OPEN_Q, context="d")),
    "a fork over another conversation": (*ONCE, call("a", "create", 8, 9, context="d"),
                                         call("a", "fork", 10, 11, name="d")),
}  # fmt: skip

FIFO_BAD: dict[str, Sequence[Call]] = {
    "typed ahead, done in another order": (CREATED, call("a", "query", 2, 9, text="Q"), call("a", "cancel", 3, 9, NO),
                                           view("b", 10, 11, OPEN_Q)),
    "overtaken and still done": (CREATED, call("a", "query", 2, None, text="Q"), call("a", "cancel", 3, 4, NO),
                                 view("b", 10, 11, OPEN_Q)),
    "done before what was typed first": (*ANSWERED, call("b", "cancel", 6, 20, NO),
                                         call("b", "choose", 7, None, node=1), view("a", 8, 9, CHOSE_1)),
    "asked again before what was typed first": (*ANSWERED, call("b", "choose", 6, 20, NO, node=1),
                                                call("b", "retry", 7, None), view("a", 8, 9, OPEN_Q)),
}  # fmt: skip
