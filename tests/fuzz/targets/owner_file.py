"""The file that says whose a data directory is."""

from __future__ import annotations

import tempfile
from pathlib import Path

from storage.errors import StorageError
from storage.ownership import claim, owner_of, require_owner
from tests.fuzz.target import Form, Target


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, config = Path(name) / "data", Path(name) / "config.json"
        folder.mkdir()
        (folder / "owner.json").write_bytes(data)
        try:
            owner = owner_of(folder)
            require_owner(folder, "demo", config)
            claim(folder, "demo", config)
        except StorageError as error:
            assert str(error).isprintable()
            assert (folder / "owner.json").read_bytes() == data, "it was changed, though it is another cluster's"
            return
        assert owner is None or owner.cluster == "demo"
        require_owner(folder, "demo", config)


def seeds() -> list[bytes]:
    return [
        b'{"cluster":"demo","config":"../config.json"}\n', b'{"cluster":"other","config":null}',
        b'{"cluster":"demo","config":"/nowhere/config.json"}', b"",
        b'{"cluster":"demo","config":"\\ud800/\\udcff.json","cluster_id":"00000000000000a1"}',
    ]


TARGET = Target("owner.json", check, seeds, Form.JSON, examples=150)
