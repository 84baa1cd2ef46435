"""What another user of the machine may try. The system's Python runs this as that user, so it imports nothing of the
product.

One line of JSON with what to try comes in; a line for each success goes out, and the number of attempts. The frames to
be sent are made by whoever starts it; in what comes back, it only looks for the names of messages.
"""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

WITHIN_S = 10.0


def files(task: dict[str, Any], attempt: Callable[[str, Callable[[], object]], None]) -> None:
    """`folder` and the `names` in it: list, create, read, write, delete, lock, connect."""
    data = pathlib.Path(task["folder"])
    attempt("list .", lambda: os.listdir(data))
    attempt("create node-6.db", lambda: (data / "node-6.db").write_bytes(b""))
    for name in task["names"]:
        path = data / name
        attempt(f"read {name}", path.read_bytes)
        attempt(f"write {name}", partial(append, path))
        attempt(f"delete {name}", path.unlink)
        attempt(f"lock {name}", partial(lock, path))
        if name.endswith(".sock"):
            attempt(f"connect {name}", partial(connect, path))


def append(path: pathlib.Path) -> None:
    path.open("ab").close()


def lock(path: pathlib.Path) -> None:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def connect(path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


def processes(task: dict[str, Any], attempt: Callable[[str, Callable[[], object]], None]) -> None:
    """`pids`: kill, look into."""
    for pid in task["pids"]:
        attempt(f"kill {pid}", partial(os.kill, pid, 9))
        for name in ("environ", "mem", "maps", "cwd"):
            path = pathlib.Path(f"/proc/{pid}/{name}")
            attempt(f"look into {name} of {pid}", path.readlink if name == "cwd" else path.read_bytes)


def joining(task: dict[str, Any], attempt: Callable[[str, Callable[[], object]], None]) -> None:
    """`hellos`, by name, each sent to the orchestrator at `port`; told is what it answers beside its challenge."""
    for name, hello in task["hellos"].items():
        with socket.create_connection(("127.0.0.1", task["port"]), WITHIN_S) as client:
            client.settimeout(WITHIN_S)
            client.sendall(bytes.fromhex(hello))
            heard = everything(client, b"Welcome")
        print(name, "was welcomed" if b"Welcome" in heard else "was refused" if b"Refused" in heard else "got nothing")


def posing(task: dict[str, Any], attempt: Callable[[str, Callable[[], object]], None]) -> None:
    """As the orchestrator at `port`, while it is down: to everyone who comes it says all of `says` and hangs up, or, to
    every other one, waits for an answer to the first of it. Ends when `callers` have come."""
    first, *rest = (bytes.fromhex(frame) for frame in task["says"])
    with socket.create_server(("127.0.0.1", task["port"])) as server:
        server.settimeout(WITHIN_S)
        print("listens", flush=True)
        for count in range(task["callers"]):
            caller, _ = server.accept()
            with caller:
                caller.settimeout(WITHIN_S)
                caller.sendall(first)
                heard = caller.recv(65536) if count % 2 else b""
                caller.sendall(b"".join(rest))
                heard += everything(caller) if count % 2 else b""
            for told in (b"Hello", b"Report"):
                if told in heard:
                    print("heard a", told.decode())


def everything(connection: socket.socket, enough: bytes = b"Report") -> bytes:
    """Until the end, or until `enough` is in it."""
    heard = b""
    try:
        while enough not in heard and (part := connection.recv(65536)):
            heard += part
    except (ConnectionError, TimeoutError):
        pass
    return heard


def main() -> None:
    task = json.loads(sys.stdin.readline())
    tried = 0

    def attempt(what: str, action: Callable[[], object]) -> None:
        nonlocal tried
        tried += 1
        try:
            action()
        except (PermissionError, FileNotFoundError):
            return
        print("could", what)

    {"files": files, "processes": processes, "joining": joining, "posing": posing}[task["what"]](task, attempt)
    print("tried", tried)


if __name__ == "__main__":
    main()
