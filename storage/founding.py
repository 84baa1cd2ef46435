"""The disks of a new cluster that begins with conversations of another one: `./run.sh restore`, `./run.sh rescue`."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from paxos.configuration import new_cluster
from paxos.messages import Configuration, Snapshot
from paxos.output import Persist, VoterStatus
from storage.database import Database
from storage.errors import explain
from storage.inspection import make_folder, sync_folder
from storage.lock import hold
from storage.ownership import disks


def existing_disks(folder: Path) -> list[Path]:
    """What is there of nodes' disks, damaged ones too."""
    return sorted(path for path in folder.glob("node-*.db*") if path.suffix != ".lock")


def hold_disks(folder: Path, pids: Iterable[int]) -> ExitStack:
    """Holds the locks of all disks in `folder`, and of those that nodes `pids` would have, until it is closed: no node
    can start meanwhile. Raises StorageLocked if one runs."""
    return hold(sorted({*disks(folder), *(folder / f"node-{pid}.db" for pid in pids)}))


def found(
    folder: Path, cluster: str, pids: Iterable[int], position: int, rows: list[tuple[bytes, bytes]],
    clear: Callable[[], None] = lambda: None,
) -> int:
    """Makes the disks of nodes `pids` in `folder`, where there must be none; the caller has `hold_disks`.

    All begin with the same snapshot, of these rows at this position. It founds a cluster with an id of its own, which
    is returned, the members of which are these disks: none of them has ever promised anything, one that takes the place
    of one of them later is known as another, and the cluster that the rows are from refuses them, as they refuse it.

    `clear` is called when all is made and only has to be put in place: it makes room. A failure leaves nothing; a crash
    may leave some of the disks: the nodes without one then wait as for lost disks. Raises StorageError.
    """
    make_folder(folder)
    cluster_id = new_cluster(secrets.SystemRandom())
    placed: list[Path] = []
    making = Path(tempfile.mkdtemp(prefix=".restore-", dir=folder))
    try:
        made = _make(making, cluster, cluster_id, pids, position, rows)
        clear()
        for path in made:
            target = folder / path.name
            path.rename(target)
            placed.append(target)
        sync_folder(folder)
    except BaseException as error:
        for target in placed:
            target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise explain(error, folder) from error
        raise
    finally:
        shutil.rmtree(making)
    return cluster_id


def _make(
    making: Path, cluster: str, cluster_id: int, pids: Iterable[int], position: int, rows: list[tuple[bytes, bytes]]
) -> list[Path]:
    databases = {pid: Database.open(making / f"node-{pid}.db", cluster, pid, 0) for pid in pids}
    identities = {pid: database.durable.identity for pid, database in databases.items()}
    configuration = Configuration(1, cluster_id, identities, position + 1)
    snapshot = Snapshot(position, {}, rows, configuration)
    founded = Persist(voter_status=VoterStatus.VOTER, roster=identities, snapshot=snapshot)
    try:
        for database in databases.values():
            database.write([founded])
            database.checkpoint()  # only the file itself is put in place
    finally:
        for database in databases.values():
            database.close()
    return [database.path for database in databases.values()]
