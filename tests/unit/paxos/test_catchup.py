"""Getting level: at most one request under way, bounded pieces, and nothing begun anew without need."""

from __future__ import annotations

from random import Random

import pytest

from paxos.catchup import PATIENCE, CatchUp, SnapshotSource
from paxos.connectivity import Connectivity
from paxos.limits import Limits, Timing
from paxos.log import Log
from paxos.messages import Fetch, Heartbeat, Learn, Snapshot, SnapshotPiece
from tests.unit.paxos.test_replica import Solo, op, row

TIMING = Timing()


class Behind:
    """The fetcher of node 1, whose peers 2 and 3 are at position 100."""

    def __init__(self) -> None:
        self.now = 10.0
        self.net = Connectivity(1, (1, 2, 3), TIMING)
        self.fetcher = CatchUp(self.net, TIMING, Random(3), self.now)
        self.decided = 0
        self._count = 0

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._count += 1
        for peer in (2, 3):
            told = row(peer, self._count, (1, 2, 3), decided=100)
            self.net.heard(peer, Heartbeat([told], {}, 0.0, {}), self.now)
        self.net.refresh(self.now)

    def request(self) -> tuple[int, Fetch] | None:
        return self.fetcher.request(self.decided, self.now)

    def first(self) -> tuple[int, Fetch]:
        """Waits until it asks."""
        for _ in range(100):
            self.wait(0.05)
            if (asked := self.request()) is not None:
                return asked
        raise AssertionError("it never asks")

    def piece(self, number: int, position: int = 50) -> Snapshot | None:
        return self.fetcher.piece(SnapshotPiece(position, number, 3, {}, [(b"%d" % number, b"")]), self.decided)


def test_it_asks_one_source_once_and_again_only_after_a_while() -> None:
    behind = Behind()
    _, fetch = behind.first()
    assert fetch == Fetch(1, 0, 0) and behind.request() is None
    behind.wait(TIMING.retry_s / 2)
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
        behind.wait(5 * TIMING.retry_s)
        assert behind.request() == (source, Fetch(1, 50, 1)), "the same piece of the same source"
    assert behind.piece(2) is None, "not the one that is missing"
    behind.piece(1)
    whole = behind.piece(2)
    assert whole == Snapshot(50, {}, [(b"0", b""), (b"1", b""), (b"2", b"")])


def test_a_source_that_stays_silent_is_left() -> None:
    behind = Behind()
    source, _ = behind.first()
    behind.wait(2 * TIMING.retry_s)
    asked = behind.request()
    assert asked is not None and asked[0] != source
    behind.piece(0)
    asked = behind.request()
    assert asked is not None
    asks = []
    for _ in range(PATIENCE + 1):
        behind.wait(5 * TIMING.retry_s)
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


def test_who_is_level_asks_nothing_and_forgets_its_pieces() -> None:
    behind = Behind()
    behind.first()
    behind.piece(0)
    behind.decided = 100
    assert behind.request() is None and behind.piece(1) is None
    behind.fetcher.heard_of(200)
    assert behind.first()[1] == Fetch(101, 0, 0)


def test_a_snapshot_that_was_overtaken_is_given_up() -> None:
    """Its pieces are refused from then on (they lie behind): to ask for more of them would be in vain for ever."""
    behind = Behind()
    behind.first()
    behind.piece(0)
    behind.decided = 60
    behind.fetcher.progressed()
    asked = behind.request()
    assert asked is not None and asked[1] == Fetch(61, 0, 0)


# ---- The side that is ahead


def filled(compacted: int = 10) -> Log:
    log = Log()
    log.learn(1, [op(number) for number in range(1, 21)])
    log.release(compacted)
    return log


def test_a_shelf_answers_from_the_log_while_it_can() -> None:
    shelf = SnapshotSource(Limits(learn_operations=3), 0.0)
    assert shelf.answer(2, Fetch(11, 0, 0), filled(), 0.0) == Learn(11, [op(11), op(12), op(13)], 20)
    assert shelf.answer(2, Fetch(21, 0, 0), filled(), 0.0) is None and not shelf.needs_snapshot


def test_a_shelf_hands_out_its_snapshot_in_bounded_pieces_to_all_who_wait() -> None:
    shelf, log = SnapshotSource(Limits(piece_bytes=10), 0.0), filled()
    for peer in (2, 3):
        assert shelf.answer(peer, Fetch(1, 0, 0), log, 0.0) is None and shelf.needs_snapshot
    rows = [(b"k%d" % number, b"12345678") for number in range(4)]
    assert shelf.load(Snapshot(15, {1: (1, 1)}, rows)) == {2: Fetch(1, 0, 0), 3: Fetch(1, 0, 0)}
    assert not shelf.needs_snapshot and shelf.position == 15
    pieces = [shelf.answer(2, Fetch(1, 15, number), log, 0.0) for number in range(4)]
    assert pieces == [SnapshotPiece(15, number, 4, {1: (1, 1)}, [rows[number]]) for number in range(4)]


@pytest.mark.parametrize(("snapshot", "piece"), [(15, -1), (15, 7), (14, 1), (0, 0)])
def test_whoever_asks_for_a_piece_that_is_not_there_gets_the_first(snapshot: int, piece: int) -> None:
    shelf, log = SnapshotSource(Limits(piece_bytes=1), 0.0), filled()
    shelf.answer(2, Fetch(1, 0, 0), log, 0.0)
    shelf.load(Snapshot(15, {}, [(b"a", b""), (b"b", b"")]))
    answer = shelf.answer(2, Fetch(1, snapshot, piece), log, 0.0)
    assert isinstance(answer, SnapshotPiece) and answer.piece == 0


def test_a_snapshot_that_the_log_no_longer_joins_is_loaded_anew() -> None:
    shelf = SnapshotSource(Limits(), 0.0)
    shelf.load(Snapshot(5, {}, []))
    assert shelf.answer(2, Fetch(1, 0, 0), filled(compacted=10), 0.0) is None and shelf.needs_snapshot


def test_a_snapshot_that_nobody_asks_for_leaves_memory_later_on_slow_links() -> None:
    limits = Limits(snapshot_idle_s=10.0)
    for round_trip, held_at, gone_at in ((0.0, 9.0, 11.0), (6.0, 59.0, 61.0)):
        shelf = SnapshotSource(limits, 0.0)
        shelf.load(Snapshot(5, {}, []))
        shelf.expire(held_at, round_trip)
        assert shelf.position == 5
        shelf.expire(gone_at, round_trip)
        assert shelf.position is None
