"""The local model: how nodes find, start and lose its server; then the real model in the real server."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from config.llm_settings import LlmSettings
from llm.local_model.profile import OTHER, SMALL
from llm.local_model.rendezvous import Address, ServerRendezvous
from llm.local_model.server import NICENESS, threads, watch
from llm.local_model.start import find_or_start
from llm.provider import ProviderError
from llm.providers.local import LocalProvider, find_model
from tests.unit.llm.llm_tools import question, until, wait_until

TIMEOUT_S = 180.0
"""For machines that are busy with other things."""

ADDRESS = Address("http://127.0.0.1:1", "token", 1)


@pytest.fixture
def rendezvous(tmp_path: Path) -> ServerRendezvous:
    rendezvous = ServerRendezvous(tmp_path / "place")
    rendezvous.make()
    return rendezvous


def test_an_address_is_good_while_its_server_lives(rendezvous: ServerRendezvous) -> None:
    assert rendezvous.find() is None
    descriptor = rendezvous.publish(ADDRESS)
    assert rendezvous.find() == ADDRESS
    assert rendezvous.is_published(descriptor)
    assert stat.S_IMODE((rendezvous.directory / "address.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(rendezvous.directory.stat().st_mode) == 0o700
    os.close(descriptor)  # as the kernel does when the server dies
    assert rendezvous.find() is None


def test_a_server_notices_that_another_took_its_place(rendezvous: ServerRendezvous) -> None:
    first = rendezvous.publish(ADDRESS)
    second = rendezvous.publish(ADDRESS)
    assert (rendezvous.is_published(first), rendezvous.is_published(second)) == (False, True)
    os.close(first)
    assert rendezvous.find() == ADDRESS
    os.close(second)


def test_a_damaged_address_is_no_address(rendezvous: ServerRendezvous) -> None:
    descriptor = rendezvous.publish(ADDRESS)
    os.ftruncate(descriptor, 3)
    assert rendezvous.find() is None
    os.close(descriptor)


def test_the_start_lock_outlives_the_node_while_the_server_starts(rendezvous: ServerRendezvous) -> None:
    with rendezvous.starting(wait=True) as lock:
        assert lock is not None
        server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with rendezvous.starting(wait=False) as lock:
        assert lock is None, "the inheritor holds it"
    server.communicate(b"\n", timeout=60)
    with rendezvous.starting(wait=False) as lock:
        assert lock is not None


class IdleServer:
    """Has counters that do not move unless `working`."""

    def __init__(self) -> None:
        self.working = False
        self.count = 0

    def handle_metrics(self) -> str:
        self.count += self.working
        return f"llamacpp:n_decode_total {self.count}\nllamacpp:requests_processing 0\n"


def watching(rendezvous: ServerRendezvous, server: IdleServer, idle_s: float, gone_s: float) -> threading.Thread:
    published = rendezvous.publish(ADDRESS)

    def run() -> None:
        watch(rendezvous, published, server, every_s=0.01, idle_s=idle_s, gone_s=gone_s)
        os.close(published)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_the_server_leaves_when_all_nodes_are_gone(rendezvous: ServerRendezvous) -> None:
    server = IdleServer()
    members = [rendezvous.join(), rendezvous.join()]
    thread = watching(rendezvous, server, idle_s=60, gone_s=0.1)
    os.close(members.pop())
    thread.join(0.5)
    assert thread.is_alive()
    os.close(members.pop())
    thread.join(60)
    assert not thread.is_alive()
    assert not (rendezvous.directory / "address.json").exists()


def test_the_server_leaves_when_nobody_asks(rendezvous: ServerRendezvous) -> None:
    server = IdleServer()
    member = rendezvous.join()
    server.working = True
    thread = watching(rendezvous, server, idle_s=0.2, gone_s=60)
    thread.join(0.6)
    assert thread.is_alive()
    server.working = False
    thread.join(60)
    assert not thread.is_alive()
    os.close(member)


def test_the_server_stays_while_a_node_looks_for_it(rendezvous: ServerRendezvous) -> None:
    with rendezvous.starting(wait=True):
        thread = watching(rendezvous, IdleServer(), idle_s=0.05, gone_s=0.05)
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()


def test_the_server_leaves_a_place_that_is_gone(rendezvous: ServerRendezvous) -> None:
    thread = watching(rendezvous, IdleServer(), idle_s=60, gone_s=60)
    for file in rendezvous.directory.iterdir():
        file.unlink()
    rendezvous.directory.rmdir()
    thread.join(60)
    assert not thread.is_alive()


def test_a_server_that_cannot_start_is_an_error_that_says_where_to_look(
    rendezvous: ServerRendezvous, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    with pytest.raises(ProviderError, match=r"did not start: .*see .*server\.log"):
        find_or_start(rendezvous, broken)


def test_a_place_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        provider = LocalProvider(LlmSettings(), 1, tmp_path / "file")
        with pytest.raises(ProviderError, match=r"cannot use .* for the local model: Not a directory"):
            await provider.ask(question("hi"))
        await provider.close()

    asyncio.run(main())


def server_of(model_dir: Path) -> Address | None:
    return ServerRendezvous.of(model_dir, find_model(None)).find()


@asynccontextmanager
async def node(number: int, model_dir: Path, timeout_s: float = TIMEOUT_S) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(LlmSettings(timeout_s=timeout_s), number, model_dir)
    try:
        yield provider
    finally:
        await provider.close()


def servers_in(model_dir: Path) -> list[int]:
    """The process ids of all servers started for this directory."""
    program = "llm.local_model.server"
    return [pid for pid, arguments in processes() if program in arguments and str(model_dir) in arguments]


def processes() -> Iterator[tuple[int, str]]:
    if Path("/proc/self/cmdline").exists():  # where `ps` need not be installed
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return
    listing = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, _, arguments = line.strip().partition(" ")
        yield int(pid), arguments


def running() -> int:
    """Processes and threads that run or wait for a core now, as seen a few times; 0 if the system does not tell."""
    seen = []
    for _ in range(9):
        with suppress(OSError):
            seen.append(int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]))
        time.sleep(0.02)  # to see another moment
    return sorted(seen)[len(seen) // 2] if seen else 0


@pytest.fixture
def busy_cores() -> Iterator[None]:
    """Two processes that never wait."""
    if (others := running()) > 2:  # this process, and another for a moment
        pytest.skip(f"this machine is too busy to judge by time: {others} processes run")
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.alone
@pytest.mark.usefixtures("busy_cores")
def test_beside_two_busy_processes_five_answers_arrive_whole(model_dir: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            limit = LlmSettings().timeout_s
            nodes = [await stack.enter_async_context(node(number, model_dir, limit)) for number in range(1, 6)]
            asked = question("Name three mammals.", max_tokens=40)
            replies = await asyncio.gather(*(each.ask(asked) for each in nodes))
        assert [reply for reply in replies if reply.cut_s] == []

    asyncio.run(main())


def test_five_nodes_that_ask_at_once_share_one_server(model_dir: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(number, model_dir)) for number in range(1, 6)]
            replies = await asyncio.gather(*(each.ask(question("Name a river.", max_tokens=12)) for each in nodes))
            address = server_of(model_dir)
            assert address is not None
            assert servers_in(model_dir) == [address.pid]
            assert os.getpriority(os.PRIO_PROCESS, address.pid) == NICENESS > 0
            assert os.getsid(address.pid) == address.pid, "a Ctrl-C in a node's terminal does not reach it"
        assert all(reply.text.strip() and reply.model == nodes[0].model for reply in replies)
        assert len({reply.text for reply in replies}) > 1, "each node has its own seed"

    asyncio.run(main())


def test_with_equal_settings_five_nodes_give_five_answers_and_each_the_same_again(model_dir: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(number, model_dir)) for number in range(1, 6)]
            asked = question("What would you do with a free day?", max_tokens=24)
            texts = [(await each.ask(asked)).text for each in nodes]
            assert len(set(texts)) == 5
            assert [(await each.ask(asked)).text for each in nodes[:2]] == texts[:2]
            again = msgspec.structs.replace(asked, round=1)
            assert (await nodes[0].ask(again)).text not in texts, "asked again, it says something else"
            same = msgspec.structs.replace(asked, seed=77)
            assert (await nodes[0].ask(same)).text == (await nodes[3].ask(same)).text, "the seed makes the difference"

    asyncio.run(main())


def test_a_killed_server_is_started_again_by_the_next_question(model_dir: Path) -> None:
    async def main() -> None:
        async with node(1, model_dir) as provider:
            reply = await provider.ask(question("Say hello.", max_tokens=8))
            assert reply.text.strip()
            assert reply.tokens_in
            first = server_of(model_dir)
            assert first is not None
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: server_of(model_dir) is None)
            assert (await provider.ask(question("Say hello.", max_tokens=8))).text.strip()
            second = server_of(model_dir)
            assert second is not None
            assert second.pid != first.pid

    asyncio.run(main())


def test_a_server_that_dies_during_an_answer_is_a_reason_to_try_again(model_dir: Path) -> None:
    def kill_the_server(*_: object) -> None:
        address = server_of(model_dir)
        if address is not None:
            os.kill(address.pid, signal.SIGKILL)

    async def main() -> None:
        async with node(1, model_dir) as provider:
            with pytest.raises(ProviderError, match=r"the connection .* broke") as caught:
                await provider.ask(question("Tell me a long story.", max_tokens=400), kill_the_server)
        assert caught.value.retryable
        await until(lambda: server_of(model_dir) is None)

    asyncio.run(main())


def test_a_cancelled_question_frees_its_slot(model_dir: Path) -> None:
    async def main() -> None:
        async with node(1, model_dir) as provider:
            pieces: list[int] = []
            asking = asyncio.create_task(
                provider.ask(
                    question("Count from one to a million.", max_tokens=2000), lambda count, *_: pieces.append(count)
                )
            )
            await until(lambda: asking.done() or len(pieces) > 0, TIMEOUT_S)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            address = server_of(model_dir)
            assert address is not None
            wait_until(lambda: working_slots(address) == 0)

    def working_slots(address: Address) -> int:
        with httpx.Client(trust_env=False, headers={"authorization": f"Bearer {address.token}"}) as client:
            slots = client.get(f"{address.url}/slots", timeout=TIMEOUT_S).json()
        return sum(slot["is_processing"] for slot in slots)

    asyncio.run(main())


def test_old_turns_make_room_and_too_long_a_question_is_told(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.providers.local._HISTORY_TOKENS_PER_THREAD", 270 / threads())
    earlier = [(f"Question number {number}?" + " again" * 30, "Yes. " * 20) for number in range(20)]

    async def main() -> None:
        async with node(1, model_dir) as provider:
            reply = await provider.ask(question("Name a river.", *earlier, max_tokens=4))
            assert reply.tokens_in is not None
            assert 100 < reply.tokens_in < 320
            assert (reply.before, reply.seen) == (20, 2)
            with pytest.raises(ProviderError, match=r"the question is too long .* \d+ tokens, at most 3968"):
                await provider.ask(question("why " * 5000, max_tokens=96))

    asyncio.run(main())


def test_a_late_answer_is_cut_off_rather_than_lost(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.providers.local._STOP_AFTER", 0)

    async def main() -> None:
        async with node(1, model_dir) as provider:
            assert (await provider.ask(question("Tell me a long story.", max_tokens=400))).text.strip()

    asyncio.run(main())


def test_without_nodes_the_server_leaves(model_dir: Path) -> None:
    async def main() -> None:
        async with node(1, model_dir) as provider:
            await provider.ask(question("Say hello.", max_tokens=2))
            assert len(servers_in(model_dir)) == 1

    asyncio.run(main())
    wait_until(lambda: not servers_in(model_dir))


@pytest.mark.parametrize(
    ("changes", "has_examples"),
    [
        ({}, True), ({"max_tokens": 160}, True), ({"temperature": 1.0}, True), ({"system": "You are a poet."}, False),
        ({"max_tokens": 400}, False),
    ],
)
def test_examples_are_for_who_asks_for_nothing_else(changes: dict[str, Any], has_examples: bool) -> None:
    assert bool(SMALL.examples_for(msgspec.structs.replace(question("Why?"), **changes))) is has_examples
    assert OTHER.examples_for(msgspec.structs.replace(question("Why?"), **changes)) == []


def test_examples_make_short_answers(model_dir: Path) -> None:
    async def main() -> None:
        async with node(1, model_dir) as provider:
            reply = await provider.ask(question("What is the capital of France?"))
            assert "Paris" in reply.text and reply.complete and (reply.tokens_out or 0) < 30, reply

    asyncio.run(main())
