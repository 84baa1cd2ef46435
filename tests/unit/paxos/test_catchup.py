"""Catching up: pieces ahead as the link takes them, each once, and nothing begun anew without need."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from paxos.catchup import FIRST_S, MOST_EARLY, MOST_EARLY_BYTES, MOST_PIECES_EARLY, PATIENCE, CatchUp
from paxos.connectivity import Connectivity
from paxos.effects import Effects
from paxos.learner import Learner
from paxos.limits import Limits, Timing
from paxos.log import Log
from paxos.messages import AnyMessage, Fetch, Heartbeat, Learn, Operation, Row, Snapshot, SnapshotPiece
from paxos.output import Durable
from paxos.queue import OperationQueue
from paxos.routing import Router
from paxos.snapshot_source import SnapshotSource
from tests.unit.paxos.roles import op
from tests.unit.paxos.test_replica import Solo, state

TIMING = Timing()
SILENT_S = 5 * (TIMING.retry_s + FIRST_S)
"""Longer than any patience in these tests."""


class Behind:
    """Node 1, whose peers 2 and 3 are at position 100."""

    def __init__(self) -> None:
        self.now = 10.0
        self.unreadable = False
        self.net = Connectivity(1, (1, 2, 3), TIMING)
        self.effects = Effects(1)
        self.log = Log()
        learner = Learner(1, self.log, OperationQueue(1, 1, Limits()), Durable(1, 1), Random(1), self.effects)
        router = Router(self.net, self.effects)
        self.catch_up = CatchUp(self.net, self.log, learner, router, self.readable, TIMING, Random(3), self.now)
        self.stream = 0
        """Of its last request."""
        self._count = 0

    def readable(self, rows: Sequence[Row]) -> bool:
        return not self.unreadable

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._count += 1
        for peer in (2, 3):
            told = state(peer, self._count, (1, 2, 3), decided=100)
            self.net.heard(peer, Heartbeat([told], {}, 0.0, {}), self.now)
        self.net.refresh(self.now)

    def request(self) -> tuple[int, AnyMessage] | None:
        """Whom it asks for what, if it does; without the number of the stream."""
        self.catch_up.request(self.now)
        asked = self.effects.take().send_now
        assert len(asked) <= 1
        for source, fetch in asked:
            assert isinstance(fetch, Fetch)
            self.stream = fetch.stream
            return source, msgspec.structs.replace(fetch, stream=0)
        return None

    def decide(self, upto: int) -> None:
        """It hears of decisions up to here, as it had accepted them; nobody answered its request."""
        self.log.learn(self.log.decided_upto + 1, [op(number) for number in range(self.log.decided_upto, upto)])

    def first(self) -> tuple[int, AnyMessage]:
        """Waits until it asks."""
        for _ in range(100):
            self.wait(0.05)
            if (asked := self.request()) is not None:
                return asked
        raise AssertionError("it never asks")

    def piece(self, number: int, position: int = 50) -> Snapshot | None:
        """Piece `number` of a snapshot comes; the snapshot that it installs then, if it does."""
        self.catch_up.take_piece(SnapshotPiece(position, number, 3, {}, [(b"%d" % number, b"")]), self.now)
        return self.effects.take().install


def test_it_asks_one_source_once_and_again_only_after_a_while() -> None:
    behind = Behind()
    _, fetch = behind.first()
    assert fetch == Fetch(1, 0, 0) and behind.request() is None
    behind.wait(FIRST_S)
    assert behind.request() is None
    behind.wait(TIMING.retry_s)
    assert behind.request() is not None


def test_a_little_delay_is_no_reason_to_ask() -> None:
    """The message that brings the missing decision is probably on its way."""
    behind = Behind()
    behind.wait(0.0)
    assert behind.request() is None


def test_a_doubled_answer_asks_only_once() -> None:
    """Two copies of one piece, or of one Learn, must not make two requests: they would double at every step."""
    behind = Behind()
    behind.first()
    assert behind.piece(0) is None and behind.piece(0) is None
    asked = behind.request()
    assert asked is not None and asked[1] == Fetch(1, 50, 1)
    assert behind.piece(0) is None and behind.request() is None, "late copies are no progress"


def test_a_doubled_learn_asks_only_once() -> None:
    solo = Solo()
    solo.beat(2, 3, decided=100)
    asks = 0
    lesson = Learn(1, [op(1), op(2)], 100)
    for _ in range(3):
        asks += sum(isinstance(message, Fetch) for _, message in solo.hear(2, lesson).send_now)
    assert asks == 1


def test_a_lost_piece_does_not_begin_the_snapshot_anew() -> None:
    behind = Behind()
    source, _ = behind.first()
    behind.piece(0)
    assert behind.request() == (source, Fetch(1, 50, 1))
    for _ in range(PATIENCE):
        behind.wait(SILENT_S)
        assert behind.request() == (source, Fetch(1, 50, 1)), "the same piece of the same source"
    assert behind.piece(2) is None, "not the one that is missing"
    assert behind.request() is None
    whole = behind.piece(1)
    assert whole == Snapshot(50, {}, [(b"0", b""), (b"1", b""), (b"2", b"")])


def test_a_source_that_stays_silent_is_left() -> None:
    behind = Behind()
    source, _ = behind.first()
    behind.wait(FIRST_S + TIMING.retry_s)
    asked = behind.request()
    assert asked is not None and asked[0] != source
    behind.piece(0)
    asked = behind.request()
    assert asked is not None
    asks = []
    for _ in range(PATIENCE + 1):
        behind.wait(SILENT_S)
        asks.append(behind.request())
    assert asks == [(asked[0], Fetch(1, 50, 1))] * PATIENCE + [(source, Fetch(1, 0, 0))], "another has other pieces"


def test_the_first_piece_of_another_snapshot_starts_anew_and_any_other_stray_piece_means_nothing() -> None:
    behind = Behind()
    behind.first()
    behind.piece(0)
    assert behind.piece(1, position=60) is None and behind.piece(-1) is None
    asked = behind.request()
    assert asked is not None and asked[1] == Fetch(1, 50, 1)
    behind.piece(0, position=60)
    behind.piece(1, position=60)
    whole = behind.piece(2, position=60)
    assert whole is not None and whole.position == 60


def test_pieces_far_ahead_are_not_kept() -> None:
    behind = Behind()
    behind.first()
    for number in range(1000):
        behind.catch_up.take_piece(SnapshotPiece(50, number, 10**6, {}, []), behind.now)
    assert len(behind.catch_up._pieces) == 1000, "each in its turn"
    for number in range(1001, 5000):
        behind.catch_up.take_piece(SnapshotPiece(50, number, 10**6, {}, []), behind.now)
    assert len(behind.catch_up._pieces) < 1000 + MOST_PIECES_EARLY
    assert Limits().pieces < MOST_PIECES_EARLY


def test_what_one_source_sent_early_does_not_follow_upon_what_another_sends() -> None:
    behind = Behind()
    source, _ = behind.first()
    behind.catch_up.take_lesson(3, [op(3)], behind.now)
    behind.wait(SILENT_S)
    asked = behind.request()
    assert asked is not None and asked[0] != source
    behind.catch_up.take_lesson(1, [op(1), op(2)], behind.now)
    assert behind.log.decided_upto == 2


def test_a_node_that_knows_all_asks_nothing_and_forgets_its_pieces() -> None:
    behind = Behind()
    behind.first()
    behind.piece(0)
    behind.decide(100)
    assert behind.request() is None and behind.piece(1) is None
    behind.catch_up.heard_of(200)
    assert behind.first()[1] == Fetch(101, 0, 0)


def test_a_request_goes_on_with_its_stream_until_something_is_lost() -> None:
    behind = Behind()
    behind.first()
    first = behind.stream
    behind.piece(0)
    behind.request()
    assert behind.stream == first != 0
    behind.wait(SILENT_S)
    assert behind.request() is not None and behind.stream != first


def test_what_has_overtaken_others_is_kept_and_not_asked_for_again() -> None:
    behind = Behind()
    behind.first()
    operations = [op(number) for number in range(1, 41)]
    for start in (31, 11, 21):
        behind.catch_up.take_lesson(start, operations[start - 1 : start + 9], behind.now)
    assert behind.log.decided_upto == 0 and behind.request() is None, "it is no answer yet"
    behind.catch_up.take_lesson(1, operations[:10], behind.now)
    assert behind.log.decided_upto == 40
    behind.effects.take()
    asked = behind.request()
    assert asked is not None and asked[1] == Fetch(41, 0, 0)


def test_what_has_overtaken_others_is_bounded() -> None:
    behind = Behind()
    behind.first()
    large = Operation(2, 1, 1, b"x" * (MOST_EARLY_BYTES // 2 - 1_000))
    for start in (20, 30, 40):
        behind.catch_up.take_lesson(start, [large], behind.now)
    for start in range(50, 150):
        behind.catch_up.take_lesson(start, [op(start)], behind.now)
    assert len(behind.catch_up._early) == MOST_EARLY and 40 not in behind.catch_up._early


@pytest.mark.parametrize("busy_s", [0.0, 3.0])
def test_the_word_may_take_as_long_as_the_link_was_busy(busy_s: float) -> None:
    """It holds all that the leader has sent, which sends to others now, and the word behind that."""
    behind = Behind()
    behind.log.accept((1, 2), 1, [op(number) for number in range(1, 4)])
    behind.wait(0.0)
    told = state(2, 100, (1, 2, 3), leading=(1, 2), decided=3)
    behind.net.heard(2, Heartbeat([told], {}, 0.0, {}, {}, {1: (4, busy_s)}), behind.now)
    assert behind.net.underway(behind.now) == [((1, 2), 4)]
    begun = behind.now
    behind.net.heard(2, Heartbeat([told], {}, 0.0, {}), behind.now)
    while behind.request() is None:
        behind.net.heard(2, Heartbeat([told], {}, 0.0, {}), behind.now)
        behind.wait(0.05)
    assert busy_s <= behind.now - begun < busy_s + 0.5


def test_a_snapshot_that_was_overtaken_is_given_up() -> None:
    """Its pieces are rejected from then on (they are obsolete): requesting more of them would never succeed."""
    behind = Behind()
    behind.first()
    behind.piece(0)
    behind.catch_up.take_lesson(1, [op(number) for number in range(1, 61)], behind.now)
    behind.effects.take()
    asked = behind.request()
    assert asked is not None and asked[1] == Fetch(61, 0, 0)


# ---- The side that is ahead


class Ahead:
    """The snapshot source of node 1, whose log is at 20 and starts after `compacted`."""

    def __init__(self, compacted: int = 10, **limits: int | float) -> None:
        self.effects = Effects(1)
        self.log = log = Log()
        log.learn(1, [op(number) for number in range(1, 21)])
        log.release(compacted)
        net = Connectivity(1, (1, 2, 3), TIMING)
        router = Router(net, self.effects)
        self.source = SnapshotSource(net, log, router, msgspec.structs.replace(Limits(), **limits), self.effects, 0.0)

    def fetch(self, fetch: Fetch, peer: int = 2) -> AnyMessage | str | None:
        """The answer to `peer`, "loads" if the driver must load the snapshot first, else None."""
        self.source.fetch(peer, fetch, 0.0)
        out = self.effects.take()
        if out.send_now:
            ((to, answer),) = out.send_now
            assert to == peer and not out.load_snapshot
            return answer
        return "loads" if out.load_snapshot else None

    def ahead(self, fetch: Fetch, now: float = 0.0) -> list[int]:
        """Where what is sent in answer begins."""
        self.source.fetch(2, fetch, now)
        sent = [message for _, message in self.effects.take().send_now]
        return [message.start if isinstance(message, Learn) else message.piece for message in sent
                if isinstance(message, Learn | SnapshotPiece)]

    def load(self, snapshot: Snapshot) -> list[tuple[int, AnyMessage]]:
        """The answers to those who waited for it."""
        self.source.loaded(snapshot, 0.0)
        return self.effects.take().send_now


def test_a_source_answers_from_the_log_while_it_can() -> None:
    ahead = Ahead(learn_operations=3)
    assert ahead.fetch(Fetch(11, 0, 0)) == Learn(11, [op(11), op(12), op(13)], 20)
    assert ahead.fetch(Fetch(21, 0, 0)) is None


def test_within_a_stream_pieces_are_sent_ahead_and_each_once() -> None:
    ahead = Ahead(learn_operations=3)
    assert ahead.ahead(Fetch(11, 0, 0, 1)) == [11, 14, 17, 20]
    assert ahead.ahead(Fetch(14, 0, 0, 1)) == ahead.ahead(Fetch(14, 0, 0, 1)) == [], "they are on their way"
    assert ahead.ahead(Fetch(14, 0, 0, 2)) == [14, 17, 20], "they are lost"
    assert ahead.ahead(Fetch(14, 0, 0)) == [14], "release 0.1.0 gets one piece"


def test_pieces_on_their_way_are_bounded_in_number_and_in_bytes() -> None:
    ahead = Ahead(compacted=0, learn_operations=1, pieces=32)
    ahead.log.learn(21, [op(number) for number in range(21, 200)])
    assert ahead.ahead(Fetch(1, 0, 0, 1)) == list(range(1, 33))
    assert ahead.ahead(Fetch(3, 0, 0, 1)) == [33, 34]
    ahead = Ahead(compacted=0)
    ahead.log.learn(21, [Operation(2, 1, number, b"x" * 100_000) for number in range(21, 200)])
    assert ahead.ahead(Fetch(21, 0, 0, 1)) == [21, 22, 23], "as much as an unknown link takes"
    for number in range(22, 60):
        ahead.ahead(Fetch(number, 0, 0, 1), now=0.001 * number)
    assert len(ahead.ahead(Fetch(21, 0, 0, 2))) > 20, "and what it was seen to take"


def test_of_a_snapshot_the_first_piece_comes_alone_and_the_others_ahead() -> None:
    ahead = Ahead(piece_bytes=10)
    ahead.fetch(Fetch(1, 0, 0, 1))
    rows = [(b"k%d" % number, b"12345678") for number in range(5)]
    assert len(ahead.load(Snapshot(15, {}, rows))) == 1
    assert ahead.ahead(Fetch(1, 0, 0, 1)) == [], "a copy of the request"
    assert ahead.ahead(Fetch(1, 15, 1, 1)) == [1, 2, 3, 4]
    assert ahead.ahead(Fetch(1, 15, 2, 1)) == []
    assert ahead.ahead(Fetch(1, 15, 2, 2)) == [2, 3, 4]


@pytest.mark.parametrize("odd", [-(2**63), -1, 2**63, 2**64 - 1])
def test_odd_numbers_do_no_harm(odd: int) -> None:
    ahead = Ahead(piece_bytes=10)
    for fetch in (Fetch(odd, 0, 0, 1), Fetch(11, odd, 0, 1), Fetch(11, 15, odd, 1), Fetch(11, 0, 0, odd)):
        ahead.source.fetch(2, fetch, 0.0)
        ahead.load(Snapshot(15, {}, [(b"a", b"1" * 20), (b"b", b"")]))
    behind = Behind()
    behind.first()
    for position, piece, pieces in ((50, odd, 1), (50, 0, odd), (odd, 0, 1)):
        behind.catch_up.take_piece(SnapshotPiece(position, piece, pieces, {}, []), behind.now)
    behind.catch_up.take_lesson(odd, [op(1)], behind.now)


def test_a_source_hands_out_its_snapshot_in_bounded_pieces_to_all_who_wait() -> None:
    ahead = Ahead(piece_bytes=10)
    assert ahead.fetch(Fetch(1, 0, 0), peer=2) == "loads"
    assert ahead.fetch(Fetch(1, 0, 0), peer=3) is None, "it is being loaded"
    rows = [(b"k%d" % number, b"12345678") for number in range(4)]
    pieces = [SnapshotPiece(15, number, 4, {1: (1, 1)}, [rows[number]]) for number in range(4)]
    assert ahead.load(Snapshot(15, {1: (1, 1)}, rows)) == [(2, pieces[0]), (3, pieces[0])]
    assert ahead.source.position == 15
    assert [ahead.fetch(Fetch(1, 15, number)) for number in range(4)] == pieces


@pytest.mark.parametrize(("snapshot", "piece"), [(15, -1), (15, 7), (14, 1), (0, 0)])
def test_a_node_that_asks_for_a_piece_that_is_not_there_gets_the_first(snapshot: int, piece: int) -> None:
    ahead = Ahead(piece_bytes=1)
    ahead.fetch(Fetch(1, 0, 0))
    ahead.load(Snapshot(15, {}, [(b"a", b""), (b"b", b"")]))
    answer = ahead.fetch(Fetch(1, snapshot, piece))
    assert isinstance(answer, SnapshotPiece) and answer.piece == 0


def test_a_snapshot_that_the_log_no_longer_joins_is_loaded_anew() -> None:
    ahead = Ahead(compacted=10)
    ahead.load(Snapshot(5, {}, []))
    assert ahead.fetch(Fetch(1, 0, 0)) == "loads"


def test_a_snapshot_that_nobody_asks_for_leaves_memory_later_on_slow_links() -> None:
    for round_trip, held_at, gone_at in ((0.0, 9.0, 11.0), (6.0, 59.0, 61.0)):
        ahead = Ahead(snapshot_idle_s=10.0)
        ahead.load(Snapshot(5, {}, []))
        ahead.source.expire(held_at, round_trip)
        assert ahead.source.position == 5
        ahead.source.expire(gone_at, round_trip)
        assert ahead.source.position is None
