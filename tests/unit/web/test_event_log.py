"""A stream gets what is there in pieces, all of it and in order, and ends if its client does not read."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import cast

import pytest

import web.node_server
import web.streams
from api.node_events import GapEvent, LeaderEvent, QueryEvent
from server.own_drafts import Draft
from tests.unit.net.net_tools import until
from tests.unit.web.web_tools import KEY, At, serving
from web.event_log import PIECE, EventLog, EventReader, frame, piece
from web.streams import Streams
from web.watched_drafts import DraftReader, WatchedDrafts

TEXT = "x" * (PIECE // 4)


def question(number: int) -> QueryEvent:
    return QueryEvent(f"c{number}", number, 2, TEXT)


def told(log: EventLog, numbers: range) -> None:
    for number in numbers:
        log.applied = number
        log.add(question(number), number)
        log.add(LeaderEvent(2), None)


def positions(frames: bytes) -> list[int]:
    """Of events; -1 for one about no operation."""
    found = [json.loads(line[6:]) for line in frames.decode().splitlines() if line.startswith("data: ")]
    return [event.get("turn", -1) for event in found]


def flat(pieces: list[list[int]]) -> list[int]:
    return [number for piece in pieces for number in piece]


def all_of(reader: EventReader) -> list[list[int]]:
    pieces = []
    while frames := reader.take():
        assert len(frames) < PIECE + 2 * len(TEXT), "no more at a time, however much there is"
        pieces.append(positions(frames))
    return pieces


@pytest.mark.parametrize("after", [0, 7, 40])
def test_a_backlog_comes_in_pieces(after: int) -> None:
    log = EventLog(0)
    told(log, range(1, 41))
    reader = EventReader(log, after)
    pieces = all_of(reader)
    assert flat(pieces) == list(range(after + 1, 41)), "once, without what is about no operation"
    assert len(pieces) == (40 - after + 3) // 4
    told(log, range(41, 43))
    assert flat(all_of(reader)) == [41, -1, 42, -1], "it is like any other from then on"


def test_what_happens_meanwhile_follows_the_backlog() -> None:
    log = EventLog(0)
    told(log, range(1, 10))
    reader = EventReader(log, 0)
    first = positions(reader.take())
    told(log, range(10, 12))
    assert first + flat(all_of(reader)) == [*range(1, 10), 10, -1, 11, -1]


def test_who_follows_gets_pieces_too_and_is_told_of_what_it_missed() -> None:
    log = EventLog(0, kept=20)
    reader, slow = EventReader(log, None), EventReader(log, None)
    told(log, range(1, 10))
    pieces = all_of(reader)
    assert len(pieces) > 1 and flat(pieces) == [number for event in range(1, 10) for number in (event, -1)]
    assert positions(slow.take())
    told(log, range(10, 20))
    frames = slow.take()
    assert frames.startswith(b"id: 9\nevent: gap\n") and positions(frames)[1] == 10


def test_who_was_at_a_node_that_knew_more_waits_for_the_rest() -> None:
    log = EventLog(0)
    told(log, range(1, 4))
    reader = EventReader(log, 5)
    assert all_of(reader) == []
    told(log, range(4, 8))
    assert flat(all_of(reader)) == [6, 7]


def test_a_gap_is_told_once_before_what_is_left() -> None:
    log = EventLog(0, kept=20)
    told(log, range(1, 21))
    reader = EventReader(log, 3)
    frames = b"".join(iter(reader.take, b""))
    assert frames.count(b"event: gap") == 1 and frames.startswith(b"id: 10\n")
    assert positions(frames) == [-1, *range(11, 21)]
    log.skip(30)
    assert positions(reader.take()) == [-1] and isinstance(log._entries[0].event, GapEvent)


def test_a_piece_of_what_is_written_leaves_the_rest_for_the_next() -> None:
    class Written:
        def of(self, context: str, turn: int) -> dict[int, Draft]:
            return {node: Draft(1, TEXT) for node in range(1, 8)}

    reader = DraftReader(cast(WatchedDrafts, Written()), "c1")
    pieces = [piece(frame(event, None) for event in reader.take(1)) for _ in range(3)]
    assert [len(frames) for frames in pieces] == [4, 3, 0]


def test_a_client_that_does_not_read_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams()
    monkeypatch.setattr(web.streams, "TAKEN_WITHIN_S", 0.2)
    monkeypatch.setattr(web.node_server, "Streams", lambda: streams)
    request = f"GET /api/events?after=10 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n\r\n"

    async def scenario(at: At) -> None:
        told(at.server._hub.events, range(11, 2000))
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", at.client.base_url.port))
        client.sendall(request.encode())
        await until(lambda: streams.open)
        await until(lambda: not streams.open)
        client.close()

    serving(tmp_path, scenario)
