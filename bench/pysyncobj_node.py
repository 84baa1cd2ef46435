"""One PySyncObj process, which also generates the load, as its users' programs do: python -m bench.pysyncobj_node.

Arguments: JSON with own address, partners and settings. Lines of JSON on stdin are commands, lines on stdout are
results. Times in `acks` are those of the system's monotonic clock.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

KEYS = [f"key-{number}" for number in range(1000)]


class Table(SyncObj):  # type: ignore[misc]
    def __init__(self, own: str, partners: list[str], settings: dict[str, Any]) -> None:
        super().__init__(own, partners, SyncObjConf(**settings))
        self.data: dict[str, str] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: str, value: str) -> None:
        self.data[key] = value


class Load:
    """Keeps `in_flight` operations in flight until `until`. Callbacks run in PySyncObj's thread."""

    def __init__(self, table: Table, in_flight: int, begin: float, until: float) -> None:
        self.table = table
        self.begin, self.until = begin, until
        self.latencies: list[float] = []
        self.acks: list[tuple[float, int]] = []
        self.errors = 0
        self._left = in_flight
        self._next = 0
        self._value = "x" * (200 - len(KEYS[-1]))
        self.idle = threading.Event()
        for _ in range(in_flight):
            self._send()

    def _send(self) -> None:
        sent = time.monotonic()
        key = KEYS[self._next % len(KEYS)]
        self._next += 1

        def done(_: object, error: object) -> None:
            now = time.monotonic()
            if error:
                self.errors += 1
            else:
                self.acks.append((now, 1))
                if self.begin <= now <= self.until:
                    self.latencies.append(now - sent)
            if now < self.until:
                if error:
                    threading.Timer(0.005, self._send).start()
                else:
                    self._send()
            else:
                self._left -= 1
                if not self._left:
                    self.idle.set()

        self.table.put(key, self._value, callback=done)


def run(table: Table, order: dict[str, Any]) -> dict[str, Any]:
    begin = time.monotonic() + order["warm_up"]
    until = begin + order["seconds"]
    load = Load(table, order["in_flight"], begin, until)
    load.idle.wait(order["seconds"] + order["warm_up"] + 10)
    latencies = sorted(load.latencies)
    thin = max(1, len(latencies) // 5000)
    answer: dict[str, Any] = {
        "operations": sum(begin <= at <= until for at, _ in load.acks), "errors": load.errors,
        "latencies": latencies[thin // 2 :: thin],
    }
    if order.get("acks"):
        answer["acks"] = load.acks
    return answer


def main() -> None:
    arguments = json.loads(sys.argv[1])
    table = Table(arguments["own"], arguments["partners"], arguments["settings"])
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "status":
            leader = table._getLeader()
            answer = {"leader": None if leader is None else str(leader), "ready": table.isReady()}
        else:
            answer = run(table, order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
