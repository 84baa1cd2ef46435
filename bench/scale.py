"""What one cluster carries, and how many of them carry more: python -m bench.scale [--shards N] [--conversations N].

What a turn costs in bytes and CPU time is measured here; how many operations a second a cluster takes is what
docs/PERFORMANCE.md says, or `--operations`. Then a fleet of clusters is simulated, whose conversations are spread over
it by their context ids: one hour at the peak of a day, the loss of a cluster, and the move of a part of one to another.
docs/SCALE.md tells what that means.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import math
import time
from collections.abc import Iterator, Sequence
from random import Random

import msgspec

from kvstore.conversation import utf8_bytes
from kvstore.operations import Candidate, Choose, Create, Import, Query, StoreOperation
from kvstore.packed_turns import Restored, RestoredTurn, pack
from kvstore.payloads import encode
from kvstore.store import Store

NODES = 5
QUESTION_WORDS, ANSWER_WORDS = 30, 100
"""Some 190 and 620 bytes."""
VOCABULARY = 4_000
OPERATIONS_A_TURN = 1 + NODES + 1
"""The question, a candidate of each node, the choice."""
SLOTS = 16_384
"""Conversations belong to slots by a hash of their ids, slots to clusters by a table: what moves is a slot."""
DAY_S, PEAK = 86_400, 3.0
"""At the busiest hour of a day, so many times the mean load."""
SAMPLE = 400
"""Conversations that are measured, each of TURNS turns."""
TURNS = 25
MEMORY_A_BYTE = 3
"""Bytes of a node's memory for a byte of text (docs/PERFORMANCE.md)."""
KEPT_DAYS = 365
LINK_BYTES_S = 100e6
ETCD_BYTES = 8 * 2**30
"""The most that etcd's maintainers suggest."""


Rows = list[tuple[str, str]]
"""(what, figure)."""


class Costs(msgspec.Struct, frozen=True):
    """Of one turn with NODES answers."""

    text: float
    """Bytes that people and models wrote."""
    disk: float
    """Bytes of rows."""
    moved: float
    """Bytes on their way to another cluster, compressed."""
    taken_in_s: float
    """CPU seconds to take it in there."""


class Fleet(msgspec.Struct, frozen=True):
    """Of many clusters."""

    conversations: list[int]
    """Of each cluster."""
    load: list[float]
    """Operations a second of each cluster, in the mean of a day."""
    slots: list[list[int]]
    """The slots of each cluster."""


def measure() -> Costs:
    """Of SAMPLE conversations, by the store itself: first as they come about, then as imports."""
    random = Random(2)
    vocabulary = ["".join(random.choices("etaoinshrdlu", k=random.randint(2, 9))) for _ in range(VOCABULARY)]

    def words(count: int) -> str:
        return " ".join(random.choices(vocabulary, k=count))

    said = [
        RestoredTurn(
            "query", words(QUESTION_WORDS),
            [Restored(node, words(ANSWER_WORDS), None) for node in range(1, NODES + 1)], 1,
        )
        for _ in range(SAMPLE * TURNS)
    ]
    talks = [said[first : first + TURNS] for first in range(0, len(said), TURNS)]
    store = Store()
    operations = (operation for name, talk in enumerate(talks) for operation in live(str(name), talk))
    for position, operation in enumerate(operations, 1):
        outcome = store.apply(position, encode(operation))
        assert outcome.ok, outcome
    packed = [pack(talk) for talk in talks]
    there, begun = Store(), time.process_time()
    for number, turns in enumerate(packed):
        assert there.apply(number + 1, encode(Import(str(number), turns))).ok
    there.snapshot()
    taken_in = time.process_time() - begun
    text = sum(utf8_bytes(turn.text) + sum(utf8_bytes(one.text or "") for one in turn.candidates) for turn in said)
    disk = sum(len(key) + len(row) for key, row in store.snapshot())
    return Costs(*(total / len(said) for total in (text, disk, sum(map(len, packed)), taken_in)))


def live(name: str, talk: Sequence[RestoredTurn]) -> Iterator[StoreOperation]:
    yield Create(name)
    for turn, said in enumerate(talk, 1):
        yield Query(name, said.text)
        yield from (Candidate(name, turn, one.node, one.text, None) for one in said.candidates)
        yield Choose(name, 1)


def slot_of(context: str) -> int:
    return int.from_bytes(hashlib.blake2b(context.encode(), digest_size=8).digest()) % SLOTS


def spread(shards: int, conversations: int, turns_a_day: float, random: Random) -> Fleet:
    """Conversations differ: how busy they are is log-normal, so that a hundredth of them makes a fifth of the load."""
    sigma = 1.5
    counts, loads = [0] * SLOTS, [0.0] * SLOTS
    for number in range(conversations):
        slot = slot_of(f"conversation-{number}")
        counts[slot] += 1
        loads[slot] += random.lognormvariate(-sigma * sigma / 2, sigma)
    scale = turns_a_day * OPERATIONS_A_TURN / DAY_S
    slots = [list(range(shard, SLOTS, shards)) for shard in range(shards)]
    return Fleet(
        [sum(counts[slot] for slot in own) for own in slots],
        [scale * sum(loads[slot] for slot in own) for own in slots], slots,
    )


def waits(load: float, capacity: float, seconds: int, random: Random) -> Iterator[float]:
    """How long an operation waits behind others, in each second of the peak hour: arrivals are Poisson's (or nearly:
    normal, of the same mean and variance)."""
    waiting = 0.0
    for _ in range(seconds):
        arriving = max(0.0, random.gauss(load, math.sqrt(load)))
        waiting = max(0.0, waiting + arriving - capacity)
        yield waiting / capacity


def one_cluster(costs: Costs, operations: float, memory: float, turns_a_day: float) -> Rows:
    held = memory * 2**30 / (MEMORY_A_BYTE * costs.text)
    yearly = turns_a_day * KEPT_DAYS
    etcd = ETCD_BYTES / costs.disk
    return [
        ("a turn: question and five answers", f"{costs.text:,.0f} bytes of text, {costs.disk:,.0f} on disk"),
        ("operations a second", f"{operations:,.0f}, or {operations / OPERATIONS_A_TURN:,.0f} turns"),
        (f"a conversation of {turns_a_day:g} turns a day, in a year", f"{yearly * costs.text / 1e6:,.1f} MB"),
        (f"{memory:g} GB of memory for conversations", _turns(held, yearly)),
        (f"etcd with {ETCD_BYTES / 2**30:g} GB of data", _turns(etcd, yearly)),
    ]


def _turns(turns: float, yearly: float) -> str:
    return f"{turns / 1e6:,.2f} million turns: {turns / yearly:,.0f} conversations for a year"


def fleet(costs: Costs, operations: float, shards: int, conversations: int, turns_a_day: float) -> Rows:
    random = Random(1)
    made = spread(shards, conversations, turns_a_day, random)
    busiest, mean = max(made.load), sum(made.load) / shards
    longest = max(max(waits(PEAK * load, operations, 3600, random)) for load in heapq.nlargest(20, made.load))
    fullest = max(made.conversations)
    held = fullest * turns_a_day * KEPT_DAYS
    slot = held / len(made.slots[0])
    a_turn_s = max(costs.moved / LINK_BYTES_S, costs.taken_in_s)
    added = max(1, shards // 100)
    return [
        ("conversations", f"{conversations:,}, of {turns_a_day:g} turns a day, kept for {KEPT_DAYS} days"),
        ("of a cluster: mean, most", f"{conversations / shards:,.0f}, {fullest:,}"),
        ("memory of a node: of the fullest cluster", f"{held * costs.text * MEMORY_A_BYTE / 2**30:,.1f} GB"),
        ("operations/s of a cluster: mean, most, at the peak", f"{mean:,.2f}, {busiest:,.2f}, {PEAK * busiest:,.2f}"),
        ("of what it can do, the busiest at the peak", f"{PEAK * busiest / operations:.2%}"),
        ("longest wait behind others in the peak hour", f"{1000 * longest:,.1f} ms"),
        ("a cluster is lost for good", f"{fullest / conversations:.3%} of all conversations wait for its backup"),
        ("which is, for the fullest", f"{held * costs.moved / 1e9:,.2f} GB, taken in within {held * a_turn_s:,.0f} s"),
        ("a slot moves", f"{slot * costs.moved / 1e6:,.1f} MB, {slot * a_turn_s:,.1f} s without writes to it"),
        (f"{added} clusters more", f"{added / (shards + added):.1%} of the slots move, and no others"),
    ]


def table(rows: Rows) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--turns", type=float, default=10, help="of a conversation and day")
    parser.add_argument("--operations", type=float, default=20_000, help="a second of one cluster, as measured")
    parser.add_argument("--memory", type=float, default=4, help="GB for the conversations of a node")
    options = parser.parse_args()
    costs = measure()
    print("One cluster\n")
    print(table(one_cluster(costs, options.operations, options.memory, options.turns)))
    print(f"\n{options.shards:,} clusters\n")
    print(table(fleet(costs, options.operations, options.shards, options.conversations, options.turns)))


if __name__ == "__main__":
    main()
