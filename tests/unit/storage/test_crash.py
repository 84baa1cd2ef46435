"""After a kill at any instant, a node finds everything that was acknowledged, and no partial writes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from storage.database import Database

ROOT = Path(__file__).resolve().parents[3]

WRITER = """
import asyncio, os, sys
from pathlib import Path
from paxos.ballot import Ballot
from paxos.messages import Entry, Operation, Snapshot
from paxos.output import Persist
from storage.database import Database
from storage.records import Compaction
from storage.writer import DiskWriter

async def main():
    database = Database.open(Path(sys.argv[1]), "demo", 1, 1)
    durable = database.durable
    os.write(1, b"identity %d\\n" % durable.identity)
    os.write(1, b"incarnation %d\\n" % durable.incarnation)
    writer = DiskWriter(database, asyncio.get_running_loop(), lambda error: os._exit(1))
    position = max([durable.decided] + [entry.position for entry in durable.entries])
    def submit(name, number, record):
        writer.write(record, lambda: os.write(1, b"%s %d\\n" % (name, number)))
    while True:
        position += 1
        entries = [Entry(position, (1, 1), Operation(1, 1, position, b"%d" % position))]
        submit(b"entry", position, Persist(Ballot(position, 1, 1), entries, position))
        number = b"%d" % position
        if position % 50 == 0:
            submit(b"snapshot", position, Compaction(position, {1: (1, position)}, [(b"a", number), (b"b", number)]))
            submit(b"released", position - 100, Persist(compacted=max(0, position - 100)))
        if position % 370 == 0:
            rows = [(b"a", number), (b"b", number), (b"big", number * 20_000)]
            submit(b"snapshot", position, Persist(snapshot=Snapshot(position, {1: (1, position)}, rows)))
        if position % 7 == 0 or writer.full:
            await asyncio.sleep(0)

asyncio.run(main())
"""


def test_killed_at_random(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    chance = random.Random(7)
    acknowledged: dict[str, int] = {}
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child:
            for _ in range(chance.randrange(2, 3000)):
                name, number = child.stdout.readline().split()
                remember(acknowledged, name.decode(), int(number))
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:  # what it had said by then counts as well
                if line.endswith(b"\n"):
                    remember(acknowledged, line.split()[0].decode(), int(line.split()[1]))
        check(path, acknowledged)
    assert acknowledged["entry"] > 500


def remember(acknowledged: dict[str, int], name: str, number: int) -> None:
    if name == "identity":
        assert acknowledged.setdefault(name, number) == number
    elif name == "incarnation":
        assert number > acknowledged.get(name, 0)
        acknowledged[name] = number
    else:
        acknowledged[name] = max(number, acknowledged.get(name, 0))


def check(path: Path, acknowledged: dict[str, int]) -> None:
    database = Database.open(path, "demo", 1, 1)
    durable, snapshot = database.durable, database.load_snapshot()
    database.close()
    last = acknowledged.get("entry", 0)
    assert durable.identity == acknowledged["identity"]
    assert durable.incarnation > acknowledged["incarnation"]
    acknowledged["incarnation"] = durable.incarnation
    assert durable.decided >= last and durable.promised.seq_num >= last
    assert durable.compacted >= acknowledged.get("released", 0)
    assert durable.snapshot_position == snapshot.position >= acknowledged.get("snapshot", 0)
    assert [entry.position for entry in durable.entries] == list(range(durable.compacted + 1, durable.decided + 1))
    assert all(entry.operation.payload == b"%d" % entry.position for entry in durable.entries)
    rows = dict(snapshot.rows)
    assert {rows.get(b"a", b"0"), rows.get(b"b", b"0")} == {b"%d" % snapshot.position}
    assert snapshot.sessions == ({1: (1, snapshot.position)} if snapshot.position else {})


CREATOR = """
import sys
from pathlib import Path
from storage.database import Database
print("ready", flush=True)
for number in range(1000):
    Database.open(Path(sys.argv[1]) / str(number), "demo", 1, 1)
"""


def test_killed_while_files_are_made(tmp_path: Path) -> None:
    """Every file whose creation was started can be opened: it is complete, or treated as new."""
    chance = random.Random(8)
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        child = subprocess.Popen([sys.executable, "-c", CREATOR, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child:
            assert child.stdout.readline() == b"ready\n"
            try:
                child.wait(chance.uniform(0.01, 0.1))
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
        begun = {path.name.split(".")[0].split("-")[0] for path in folder.iterdir()} if folder.exists() else set()
        for name in begun:
            Database.open(folder / name, "demo", 1, 1).close()
