"""Conversations for humans: as a chat, as a table, and the answers to choose from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from api.conversation import (
    SYNTHESIS,
    Conversation,
    Poll,
    Response,
    Turn,
    Usage,
    Vote,
    candidate_words,
    cut_words,
    made_words,
)
from api.node_results import LastResult, SearchResult, ViewallResult, ViewResult
from api.safe_text import one_line
from console.basic_views import STALE
from console.layout import Layout

_EXCERPT = 4
"""Lines shown of each answer to choose from."""
_AROUND = 5
"""Screen lines not available for answers: head, hint, prompt, status line, and one spare."""
_INDENT = 4
_FOUND = 300
"""Characters shown of a text that was found."""
_MEASURABLE_S = 0.05
"""Of shorter answers no rate is told."""
_QUESTION = 60
"""Characters shown of a question in the table."""
TABLE_WIDTH = 60
"""Columns of a window that has room for a table with texts in it."""


def view(result: ViewResult, layout: Layout, all_candidates: bool = False, votes: bool = False) -> str:
    """One conversation: the chosen answers, and all answers to an open question; optionally all answers, and how
    the nodes ranked them."""
    shown = _conversation(result, layout, all_candidates, votes)
    return "\n".join([*shown, *_totals(result.usage, layout), *_stale(result, layout)])


def viewall(result: ViewallResult, layout: Layout, full: bool = False) -> str:
    """All conversations in order of creation: a table, or two lines for each in a narrow window, or each in full."""
    conversations = result.conversations
    if not conversations:
        return "\n".join(["no conversations yet: try create c1", *_stale(result, layout)])
    if full:
        shown = ["\n".join(_conversation(conversation, layout, True)) for conversation in conversations]
        return "\n".join(["\n\n".join(shown), *_stale(result, layout)])
    if layout.width is not None and layout.width < TABLE_WIDTH:
        lines = [line for each in conversations for line in _brief(each, result.changed.get(each.context), layout)]
        return "\n".join([*lines, *_stale(result, layout)])
    titled = any(conversation.title is not UNSET for conversation in conversations)
    head = ("conversation", "turns", "title or last question" if titled else "last question", "state", "changed")
    rows = [_row(conversation, result.changed.get(conversation.context)) for conversation in conversations]
    return "\n".join([layout.table(head, rows), *_stale(result, layout)])


def last(result: LastResult, layout: Layout) -> str:
    """The last turn, as `view` shows it."""
    turn = result.last
    shown = ["no questions yet"] if turn is None else _turn(result.context, result.turn, turn, layout, False)
    return "\n".join([*shown, *_stale(result, layout)])


def found(result: SearchResult, layout: Layout) -> str:
    """Where the words are: the conversation, the question, who said it, and the text around them."""
    lines: list[str] = []
    for one in result.found:
        who = "" if one.node is None else f", {'synthesis' if one.node == SYNTHESIS else f'node {one.node}'}"
        place = f"question {one.turn}{who}" if one.turn else "its name"
        lines.append(layout.bold(layout.text(f"{one.context}  {place}")))
        marked = (f"«{piece}»" if index % 2 else piece for index, piece in enumerate(one.excerpt))
        lines.append(layout.text(one_line("".join(marked), _FOUND), _INDENT))
    if not lines:
        lines.append("nothing found")
    if result.more:
        lines.append(layout.dim("there is more: search for more specific words"))
    if result.left_out is not UNSET:
        lines.append(layout.dim(f"the {result.left_out} oldest conversations are not searched"))
    return "\n".join([*lines, *_stale(result, layout)])


def turn(context: str, number: int, turn: Turn, layout: Layout) -> str:
    """One turn, as `view` shows it."""
    return "\n".join(_turn(context, number, turn, layout, False))


def choices(context: str, turn: Turn, layout: Layout) -> str:
    """The answers of an open turn, shortened, with what to type next."""
    lines = [layout.bold(f"{context}: all answers are in")]
    each = _EXCERPT + 1 if layout.height is None else (layout.height - _AROUND) // max(len(turn.candidates), 1)
    for node, response in turn.candidates.items():
        if each > 1:
            most = min(each - 1, _EXCERPT)
            lines += _response(node, _dense(response, " " if most == 1 else "\n"), layout, most=most)
        else:
            said = response.text or f"no answer: {response.error}"
            lines.append(layout.text(f"[{node}] {one_line(said, 200)}", _INDENT, most=1))
    lines.append(layout.text(f"choose {context} N picks one, view {context} shows them in full"))
    return "\n".join(lines)


def _dense(response: Response, joint: str) -> Response:
    """An excerpt without empty lines. `joint` separates the other lines."""
    if response.text is UNSET:
        return response
    return replace(response, text=joint.join(line for line in response.text.split("\n") if line.strip()))


def answer(context: str, node: int, response: Response, layout: Layout, most: int = 40) -> str:
    """The leader's answer to an `ask`."""
    return "\n".join([layout.bold(f"{context}: answer"), *_response(node, response, layout, most=most)])


def synthesized(context: str, response: Response, layout: Layout, most: int = 40) -> str:
    """What an LLM made out of the answers, with what to type next."""
    shown = _response(SYNTHESIS, response, layout, most=most)
    head = layout.bold(f"{context}: one answer out of the others")
    return "\n".join([head, *shown, layout.text(f"choose {context} {SYNTHESIS} picks it")])


def elected(context: str, node: int, turn: Turn, layout: Layout) -> str:
    """The answer that the nodes chose."""
    head = layout.bold(f"{context}: the nodes chose {candidate_words(node)}")
    votes = [] if turn.poll is UNSET else _votes(turn.poll, layout)
    return "\n".join([head, *votes, *_response(node, turn.candidates[node], layout)])


def moment(at: float | None) -> str:
    """A time in seconds since 1970 for people: with the date only if it is not today."""
    if at is None:
        return "-"
    when = time.localtime(at)
    today = time.localtime()
    same_day = (when.tm_year, when.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", when)


def _totals(usage: dict[int, Usage] | UnsetType, layout: Layout) -> list[str]:
    """What all answers together took, if their tokens were counted."""
    each = [] if usage is UNSET else list(usage.values())
    tokens_in, tokens_out = sum(one.tokens_in for one in each), sum(one.tokens_out for one in each)
    if not tokens_in + tokens_out:
        return []
    costs = [one.cost for one in each if one.cost is not UNSET]
    cost = f", cost {sum(costs):.4g}" if costs else ""
    seconds = sum(one.seconds for one in each)
    return [layout.dim(layout.text(
        f"all answers: {tokens_in:,} tokens read, {tokens_out:,} written, {seconds:.1f} s{cost}"
    ))]


def _stale(result: ViewResult | ViewallResult | LastResult | SearchResult, layout: Layout) -> list[str]:
    return [layout.red(STALE)] if result.stale else []


def _row(conversation: Conversation, changed: float | None) -> Sequence[str]:
    turns = conversation.turns
    words = conversation.title or (turns[-1].query if turns else "-")
    state = _state(turns[-1]) if turns else "empty"
    return conversation.context, str(len(turns)), one_line(words, _QUESTION), state, moment(changed)


def _brief(conversation: Conversation, changed: float | None, layout: Layout) -> Iterable[str]:
    """What the table says of it, in two lines."""
    context, _, words, state, when = _row(conversation, changed)
    about = f"{_count(conversation.turns)}, {state}" if conversation.turns else _count(())
    yield layout.text(f"{context}  {about}")
    yield layout.text(when if words == "-" else f"{when}  {words}", _INDENT, most=1)


def _count(turns: Sequence[Turn]) -> str:
    return "no questions yet" if not turns else f"{len(turns)} question{'s' if len(turns) > 1 else ''}"


def _state(turn: Turn) -> str:
    if turn.chosen is not None:
        return "synthesis chosen" if turn.chosen == SYNTHESIS else f"node {turn.chosen} chosen"
    if turn.cancelled:
        return "cancelled"
    answers = sum(response.text is not UNSET for response in turn.candidates.values())
    return f"open, {answers} answer{'' if answers == 1 else 's'}"


def _conversation(
    conversation: Conversation | ViewResult, layout: Layout, all_candidates: bool, votes: bool = False
) -> Iterable[str]:
    turns = conversation.turns
    yield f"{layout.bold(conversation.context)}  {layout.dim(_count(turns))}"
    if conversation.title is not UNSET:
        yield layout.text(one_line(conversation.title))
    if conversation.system is not UNSET:
        yield layout.dim(layout.text(f"LLMs are told: {conversation.system}", _INDENT))
    if conversation.auto is not UNSET:
        yield layout.dim(layout.text("the nodes choose by themselves (auto)", _INDENT))
    for number, turn in enumerate(turns, 1):
        yield from _turn(conversation.context, number, turn, layout, all_candidates)
        if votes and turn.poll is not UNSET:
            yield from _votes(turn.poll, layout)


def _turn(context: str, number: int, turn: Turn, layout: Layout, all_candidates: bool) -> Iterable[str]:
    question = layout.text(turn.query, _INDENT).split("\n")
    question[0] = f"{number}.".ljust(_INDENT) + question[0].lstrip()
    yield from (layout.bold(line) for line in question)
    shown = {
        node: response for node, response in turn.candidates.items()
        if all_candidates or turn.open or node == turn.chosen
    }
    for node, response in shown.items():
        yield from _response(node, response, layout, mark="chosen" if node == turn.chosen else "")
    if len(shown) < len(turn.candidates):
        yield layout.dim(layout.text(_others(turn), _INDENT))
    if turn.regenerating is not UNSET:
        yield layout.dim(layout.text("the leader is asked for another answer", _INDENT))
    if turn.open:
        yield layout.dim(layout.text(_next_step(context, turn), _INDENT))
    elif turn.chosen is None:
        yield " " * _INDENT + layout.dim("cancelled")


def _votes(poll: Poll, layout: Layout) -> Iterable[str]:
    """The points, then each node's ranking."""
    best = sorted(poll.points.items(), key=lambda item: (-item[1], item[0]))
    points = ", ".join(f"{_name(node)}: {points}" for node, points in best)
    yield layout.text(("votes so far: " if poll.open else "points: ") + points, _INDENT)
    ballots = [vote for vote in poll.votes.values() if vote.order is not UNSET]
    if len(ballots) > 1 and all((vote.model, vote.order) == (ballots[0].model, ballots[0].order) for vote in ballots):
        yield layout.dim(layout.text("all LLMs are the same model and rank alike: that is one opinion", 2 * _INDENT))
    if poll.agreement is not UNSET:
        order = " > ".join(map(str, poll.agreement))
        yield layout.dim(layout.text(f"agreement of the answers, which counts as much as all: {order}", 2 * _INDENT))
    for node, vote in poll.votes.items():
        said = f"abstains: {vote.error}" if vote.order is UNSET else " > ".join(map(str, vote.order))
        yield layout.dim(layout.text(f"{_voter(node, vote)}: {said}", 2 * _INDENT))


def _name(number: int) -> str:
    """Of who is on a ballot."""
    return "synthesis" if number == SYNTHESIS else f"node {number}"


def _voter(node: int, vote: Vote) -> str:
    return " ".join(filter(None, (f"[{node}]", one_line(vote.model, 40))))


def _others(turn: Turn) -> str:
    """The other nodes that answered, on one line."""
    said = [str(node) for node, one in turn.candidates.items() if one.error is UNSET and node != turn.chosen]
    failed = [str(node) for node, one in turn.candidates.items() if one.error is not UNSET]
    groups = (("other answers", said), ("failures", failed))
    return "; ".join(f"{what} of {', '.join(nodes)}" for what, nodes in groups if nodes)


def _awaited(turn: Turn) -> str:
    """The synthesis, if one is."""
    if turn.synthesis is UNSET:
        return ""
    whom = "the leader" if turn.synthesis.by is None else f"node {turn.synthesis.by}"
    return f"; {whom} is asked for one out of {', '.join(f'[{node}]' for node in turn.synthesis.out_of)}"


def _next_step(context: str, turn: Turn) -> str:
    if turn.kind == "ask":
        return "waiting for the leader's answer"
    if any(response.text is not UNSET for response in turn.candidates.values()):
        return f"open: choose {context} N picks one{_awaited(turn)}"
    return "waiting for answers"


def _response(
    node: int, response: Response, layout: Layout, mark: str = "", most: int | None = None
) -> Iterable[str]:
    label = "  ".join(part for part in (_label(node, response), mark, _tokens(response)) if part)
    for line in layout.text(label, _INDENT).split("\n"):
        yield " " * _INDENT + (layout.green if mark else layout.dim)(line[_INDENT:])
    if response.text is UNSET:
        yield layout.red(layout.text(f"no answer: {response.error}", 2 * _INDENT, most))
        return
    if response.thoughts is not UNSET:
        yield layout.dim(layout.text(f"thought: {response.thoughts}", 2 * _INDENT, most))
    yield layout.markdown(response.text, 2 * _INDENT, most)


def _tokens(response: Response) -> str:
    if response.tokens_out is UNSET:
        return ""
    rate = f" ({response.tokens_out / response.seconds:.1f}/s)" if response.seconds >= _MEASURABLE_S else ""
    return f"{response.tokens_out} token{'' if response.tokens_out == 1 else 's'}{rate}"


def _label(node: int, response: Response) -> str:
    number = f"[{node}]" + (f" synth{made_words(response.by, response.out_of)}:" if node == SYNTHESIS else "")
    parts = [number, one_line(response.model, 40), f"{response.seconds:.1f} s"]
    if response.before is not UNSET:
        parts.append(f"(the model saw the last {response.seen} of {response.before} turns)")
    if response.cut is not UNSET:
        parts.append(f"({cut_words(response.cut, response.cut_at)})")
    return " ".join(part for part in parts if part)
