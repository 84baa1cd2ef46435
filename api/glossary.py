"""The words of the field, as screens and documents use them: one sentence or two each."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "ballot": "<seq_num, pid, op_num>: the number of a leadership, the node that claims it, and the position of the "
    "log that it speaks about. In <2,1,15>, leadership 2 of node 1 speaks about position 15. Of two, the higher one "
    "counts.",
    "Prepare": "Phase 1: a node that wants to lead asks all to promise that they take nothing from older leaders.",
    "Promise": "Phase 1: the answer to Prepare. With those of a majority a node leads; each tells what it accepted.",
    "Accept": "Phase 2: the leader asks all to accept an operation at a position of the log.",
    "Accepted": "Phase 2: a node has the operation on its disk. With a majority of these, it is decided for ever.",
    "Decide": "The leader tells that an operation is decided, so that all apply it.",
    "Forward": "A node sends the operations of its users to the leader.",
    "Confirm": "For a read: the leader asks whether it still leads, so that what it shows is not out of date.",
    "Confirmed": "The answer to Confirm: nothing newer was promised.",
    "Outranked": "A refusal: the node has promised a higher ballot to somebody else.",
    "Behind": "A refusal: whoever wants to lead lacks too much of the log, and is to catch up first.",
    "Fetch": "A node that lacks part of the log asks another one for it.",
    "Learn": "A part of the decided log, for a node that lacks it.",
    "SnapshotPiece": "A part of all state up to a position, for a node that lacks more than others keep in their logs.",
    "heartbeat": "A message that says: I am here, this is how far I am, and these nodes I can hear.",
    "leader": "The node that proposes operations. It counts only while it exchanges messages with a majority.",
    "follower": "A node that accepts what the leader proposes.",
    "candidate": "A node that asks for promises, to become the leader.",
    "learner": "A node without a vote: it learns what is decided.",
    "campaign": "To try to become the leader, by sending Prepare to all.",
    "quorum": "Any majority of the members: two of them always have a node in common.",
    "majority": "More than half of the members, say three of five. Two majorities always have a node in common.",
    "log": "All operations, each at its position, from 1 on.",
    "position": "The place of an operation in the log.",
    "decided": "Accepted by a majority under one leadership, and so for ever.",
    "applied": "Carried out at this node: its conversations show it.",
    "operation": "One replicated command, say a query or a choice.",
    "snapshot": "All state up to a position, instead of the log up to there.",
    "queue": "Operations of this node's users that are not decided yet.",
    "no-op": "An operation that changes nothing: it fills a position that an earlier leader left open.",
    "stale": "Perhaps out of date: no majority could be asked.",
    "digest": "A short number made of all conversations: equal at two nodes exactly if these are.",
    "partition": "A failure of links that splits the nodes into groups that do not hear each other.",
}
_BY_LOWER = {word.lower(): word for word in WORDS}
ALL = "words"


def about(word: str) -> dict[str, str]:
    """What a word means, in any case and in the plural; all of them for `words`; nothing if it is none."""
    if word.lower() == ALL:
        return WORDS
    found = _BY_LOWER.get(word.lower()) or _BY_LOWER.get(word.lower().removesuffix("s"))
    if found is None and word.startswith("<"):
        found = "ballot"
    return {found: WORDS[found]} if found else {}
