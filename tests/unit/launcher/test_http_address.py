"""`./run.sh key` and what `./run.sh` says of the HTTP API."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.config import Config, parse
from launcher.errors import LaunchError
from launcher.http_address import address, key_for, page
from web.keys import Role, keyring


def configured(folder: Path, http: str) -> Config:
    return parse(f'{{"nodes": [{{"id": 1}}], "data_dir": "d"{http}}}', folder / "config.json", ["fake"])


def test_the_keys_that_are_printed_are_those_that_nodes_accept(tmp_path: Path) -> None:
    config = configured(tmp_path, ', "http": {}')
    assert config.http is not None and "http://127.0.0.1:7481" in (address(config) or "")
    ring = keyring(config.http, config.data_dir)
    assert [ring.role_of(key_for(config, role.name.lower())) for role in Role] == list(Role)
    with pytest.raises(LaunchError, match="the roles are read, write, operate"):
        key_for(config, "root")


def test_the_pages_address_is_the_networks_or_a_nodes_where_there_is_none(tmp_path: Path) -> None:
    assert page(configured(tmp_path, ', "http": {}'), "read").startswith("http://127.0.0.1:7480/#key=read-")
    assert "http://127.0.0.1:7480/#key=" in (address(configured(tmp_path, ', "http": {}')) or "")
    for host in ("::1", "::"):
        own = configured(tmp_path, f', "http": {{"host": "{host}", "insecure": true}}')
        assert page(own).startswith("http://[::1]:7480/#key=")
    etcd = ', "http": {}, "engine": {"type": "etcd", "endpoints": ["http://127.0.0.1:2379"]}'
    assert page(configured(tmp_path, etcd)).startswith("http://127.0.0.1:7481/#key=")


def test_without_an_api_or_a_full_key_it_is_said_why(tmp_path: Path) -> None:
    assert address(configured(tmp_path, "")) is None
    with pytest.raises(LaunchError, match='no "http" section'):
        key_for(configured(tmp_path, ""), "read")
    with pytest.raises(LaunchError, match="they are your own"):
        key_for(configured(tmp_path, ', "http": {"keys": [{"key": "0123456789abcdef", "role": "read"}]}'), "read")
