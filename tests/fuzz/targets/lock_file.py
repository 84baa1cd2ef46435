"""What the file beside a database says of the process that uses it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from storage.errors import StorageLocked
from storage.lock import Lock
from tests.fuzz.target import Form, Target


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "node.db"
        held = Lock(path, background=False)
        try:
            path.with_name("node.db.lock").write_bytes(data)
            another = Lock(path, background=False)
        except StorageLocked as error:
            assert str(error).isprintable() and (error.os_pid is None or error.os_pid > 0)
        else:
            another.release()
            raise AssertionError("two have it")
        finally:
            held.release()


def seeds() -> list[bytes]:
    return [b'{"os_pid":1,"background":true}', b'{"os_pid":4194305,"background":false}', b""]


TARGET = Target("a database's lock", check, seeds, Form.JSON, examples=100)
