"""What an open page costs the cluster, and how smoothly it moves while the cluster works.

    python -m bench.page [--rounds N] [--seconds S] [--rate N]

First the throughput with 256 operations in flight at the leader: nobody watches, or one page's streams of events (that
of the network, and that of the leader's conversations) are read by this process, as if the browser were on another
machine. The two take turns. Then, if there are Chromium and Playwright (of requirements-test.txt), the page itself is
open on this machine while operations come at a given rate: how many frames a second it draws.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import shutil
import statistics
import time
from collections.abc import AsyncIterator

import aiohttp
import uvloop

from bench.drive import Channel, Meter, load
from bench.ours import CONVERSATIONS, ClientChannel
from bench.results import LoadSample
from bench.streams import HEAD, KEY, Served, serving

IN_FLIGHT = 256
TICK_S = 0.01
FRAMES = """seconds => new Promise(done => {
  let frames = 0, from = performance.now(), last = from, longest = 0
  const draw = now => {
    frames += 1; longest = Math.max(longest, now - last); last = now
    if (now - from < 1000 * seconds) requestAnimationFrame(draw)
    else done([frames / (now - from) * 1000, longest])
  }
  requestAnimationFrame(draw)
})"""


@contextlib.asynccontextmanager
async def watched(system: Served, session: aiohttp.ClientSession, leader: int) -> AsyncIterator[None]:
    """As a page does that shows the cluster, and one that shows conversations."""
    async def read(node: int) -> None:
        path = system.url("/api/events", node)
        async with session.get(path, headers=HEAD, timeout=aiohttp.ClientTimeout()) as stream:
            while await stream.content.readany():
                begun[node].set()

    begun = {node: asyncio.Event() for node in (0, leader)}
    readers = [asyncio.create_task(read(node)) for node in begun]
    try:
        await asyncio.gather(*(event.wait() for event in begun.values()))
        yield
        assert not any(reader.done() for reader in readers), "a stream has ended"
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def paced(channel: Channel, rate: float, until: asyncio.Event) -> Meter:
    """So many operations a second, however quickly they are answered."""
    meter = Meter()
    channel.start(meter, 0)
    meter.open()
    began, sent = time.perf_counter(), 0
    while not until.is_set():
        due = int((time.perf_counter() - began) * rate) - sent
        if due > 0:
            sent += due
            channel.in_flight += due
            channel.issue(due)
        await asyncio.sleep(TICK_S)
    meter.close()
    await channel.drain()
    return meter


async def drawn(address: str, seconds: float) -> tuple[float, float]:
    """Frames a second, and the longest time between two, in ms."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        try:
            page = await browser.new_page(viewport={"width": 1600, "height": 900})
            await page.goto(address)
            await page.wait_for_selector("svg")
            await page.evaluate(FRAMES, 1)
            rate, longest = await page.evaluate(FRAMES, seconds)
        finally:
            await browser.close()
    return float(rate), float(longest)


async def compare(rounds: int, seconds: float, rate: float) -> None:
    async with serving() as (system, session):
        leader = await system.leader()
        channel = ClientChannel(await system.client(leader), "c", CONVERSATIONS)
        await channel.prepare()
        await load([channel], IN_FLIGHT, seconds, system.processes.cpu)
        samples: tuple[list[LoadSample], list[LoadSample]] = ([], [])
        for _ in range(rounds):
            for watchers, taken in enumerate(samples):
                async with watched(system, session, leader) if watchers else contextlib.nullcontext():
                    taken.append(await load([channel], IN_FLIGHT, seconds, system.processes.cpu))
        _show(*samples)
        if shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None:
            print("frames a second: not measured, without Chromium or Playwright")
            return
        for paces in (0.0, rate):
            stop = asyncio.Event()
            pace = asyncio.create_task(paced(channel, paces, stop))
            frames, longest = await drawn(system.url(f"/#key={KEY}&view=", 0), seconds * rounds)
            stop.set()
            meter = await pace
            print(f"the page at {paces:,.0f} operations/s ({len(meter.latencies):,} acknowledged): "
                  f"{frames:.0f} frames a second, at most {longest:.0f} ms between two")


def _show(alone: list[LoadSample], with_page: list[LoadSample]) -> None:
    for name, taken in (("nobody watches", alone), ("a page is open elsewhere", with_page)):
        print(f"{name}: {statistics.median(each.rate for each in taken):,.0f} operations/s, "
              f"p50 {statistics.median(each.p50_ms for each in taken):.2f} ms, "
              f"{statistics.median(sum(each.us_per_operation.values()) for each in taken):.0f} us CPU/operation")
    ratios = [there.rate / here.rate for here, there in zip(alone, with_page, strict=True)]
    print(f"throughput with a page to without, pair by pair: median {statistics.median(ratios):.3f} "
          f"[{min(ratios):.3f} .. {max(ratios):.3f}]")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rate", type=float, default=5000)
    given = parser.parse_args()
    uvloop.run(compare(given.rounds, given.seconds, given.rate))


if __name__ == "__main__":
    main()
