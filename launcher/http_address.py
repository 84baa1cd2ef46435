"""Where a cluster's HTTP API is, and the keys for it."""

from __future__ import annotations

from config.config import Config
from config.http_settings import HttpSettings
from launcher.configuration import nodes_to_start
from launcher.errors import LaunchError
from net.sockets import authority
from web.keys import KeyFileError, Role, derived, full_key


def key_for(config: Config, role: str) -> str:
    """A key that allows no more than that. Raises LaunchError."""
    if config.http is None:
        raise LaunchError(
            f'{config.path} has no "http" section, so there is no HTTP API: add "http": {{"port": 7480}} and restart'
        )
    names = [one.name.lower() for one in Role]
    if role not in names:
        raise LaunchError(f"there is no role '{role}': the roles are {', '.join(names)}")
    try:
        key = full_key(config.http, config.data_dir)
    except KeyFileError as error:
        raise LaunchError(str(error)) from error
    if key is None:
        raise LaunchError(f'none of "keys" in the "http" section of {config.path} allows everything: they are your own')
    return derived(key, Role[role.upper()])


def page(config: Config, role: str = "operate") -> str:
    """The address of the live page, with a key that allows no more than that. Raises LaunchError."""
    key = key_for(config, role)
    assert config.http is not None  # or there is no key
    return f"{_at(config, config.http, _with_page(config))}/#key={key}"


def address(config: Config) -> str | None:
    """What to tell whoever starts the cluster; None if there is no HTTP API. Raises LaunchError."""
    http = config.http
    if http is None:
        return None
    first = nodes_to_start(config)[0]
    api = (
        f"HTTP API: {_at(config, http, first)} is node {first}'s, and so on; `./run.sh key` prints a key for it "
        "(docs/http.md)"
    )
    try:
        return f"Live page: {page(config)}\n{api}"
    except LaunchError:  # the keys are the user's own, and none allows everything
        return f"Live page: {_at(config, http, _with_page(config))}\n{api}"


def _with_page(config: Config) -> int:
    """On etcd there is no orchestrator: the page is a node's, with its conversations."""
    return nodes_to_start(config)[0] if config.engine.is_etcd else 0


def _at(config: Config, http: HttpSettings, number: int) -> str:
    """The address of a node, or of the orchestrator, if 0; one by which a browser of this machine finds it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
    return f"{config.http_scheme}://{authority(host, http.port_of(number))}"
