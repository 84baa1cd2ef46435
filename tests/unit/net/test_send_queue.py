"""The queue before a transport: bounded, joined into few writes, empty without a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from net.send_queue import SendQueue


class FakeTransport(asyncio.Transport):
    """Keeps what is written; `stuck` bytes of earlier writes have not left."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.calls = 0
        self.stuck = 0
        self.closing = False
        self.when_written: Callable[[], None] = lambda: None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls += 1
        self.written.append(bytes(data))
        self.when_written()

    def writelines(self, list_of_data: object) -> None:
        self.calls += 1
        assert isinstance(list_of_data, list)
        self.written += list_of_data
        self.when_written()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It says itself when it has enough."""

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def is_closing(self) -> bool:
        return self.closing


def connected(limit: int = 1000) -> tuple[SendQueue, FakeTransport, list[None]]:
    """With a list that grows when a flush is asked for."""
    scheduled: list[None] = []
    queue, transport = SendQueue(limit, lambda: scheduled.append(None)), FakeTransport()
    queue.attach(transport)
    return queue, transport, scheduled


def test_what_is_gathered_leaves_in_order_with_one_call() -> None:
    for size in (10, 20_000):
        queue, transport, scheduled = connected(limit=10_000_000)
        frames = [bytes([number]) * size for number in range(5)]
        assert all(queue.push(frame) for frame in frames)
        assert (transport.calls, len(scheduled)) == (0, 1)
        queue.flush()
        assert b"".join(transport.written) == b"".join(frames) and transport.calls == 1
        queue.flush()
        assert transport.calls == 1, "nothing is left"
        queue.push(b"more")
        queue.flush()
        assert transport.written[-1] == b"more" and len(scheduled) == 2


def test_what_waits_is_bounded_but_for_control_messages() -> None:
    queue, transport, _ = connected(limit=1000)
    assert queue.push(b"x" * 1001), "one frame may go beyond"
    assert not queue.push(b"dropped")
    assert queue.push(b"control", bounded=False)
    queue.flush()
    assert b"".join(transport.written) == b"control" + b"x" * 1001
    transport.stuck = 1001
    assert not queue.push(b"dropped"), "what the transport holds counts"
    transport.stuck = 1000
    assert queue.push(b"fits")


def test_without_a_connection_nothing_is_queued() -> None:
    queue, transport, scheduled = connected()
    queue.push(b"lost with it")
    queue.detach()
    assert not queue.push(b"dropped") and not queue.push(b"dropped", bounded=False)
    queue.attach(transport)
    queue.flush()
    assert (transport.written, len(scheduled)) == ([], 1)
    queue.push(b"lost")
    transport.closing = True
    queue.flush()
    assert transport.written == []


def test_urgent_frames_overtake_what_the_transport_does_not_take_yet() -> None:
    queue, transport, scheduled = connected(limit=10_000_000)
    large = [bytes([number]) * 200_000 for number in range(4)]
    queue.push(large[0])
    transport.when_written = queue.pause
    queue.flush()
    for frame in large[1:]:
        queue.push(frame)
    assert queue.push(b"heartbeat", urgent=True) and queue.push(b"vote", urgent=True)
    queue.flush()
    assert transport.written == large[:1] and len(scheduled) == 1, "the transport has enough"
    queue.resume()
    assert transport.written[1:] == [b"heartbeat", b"vote", large[1], large[2]]
    queue.resume()
    assert transport.written[5:] == [large[3]]


def test_urgent_frames_find_room_in_a_full_queue() -> None:
    queue, transport, _ = connected(limit=1000)
    queue.push(b"x" * 1001)
    assert not queue.push(b"dropped") and queue.push(b"heartbeat", urgent=True)
    queue.flush()
    assert b"".join(transport.written) == b"heartbeat" + b"x" * 1001
    assert queue.push(b"y" * 1001, urgent=True) and not queue.push(b"dropped", urgent=True), "they are bounded, too"


def test_the_last_frame_does_not_wait_for_a_transport_that_has_enough() -> None:
    queue, transport, _ = connected()
    queue.pause()
    queue.push(b"lost")
    queue.end(b"refused")
    queue.resume()
    queue.flush()
    assert transport.written == [b"refused"] and not queue.push(b"later")


def test_a_queue_that_was_paused_is_usable_with_the_next_connection() -> None:
    queue, _, _ = connected()
    queue.pause()
    queue.push(b"lost with it")
    queue.detach()
    transport = FakeTransport()
    queue.attach(transport)
    queue.push(b"fresh")
    queue.flush()
    assert transport.written == [b"fresh"]
