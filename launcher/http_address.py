"""Where a cluster's HTTP API is, and the keys for it."""

from __future__ import annotations

from config.config import Config
from launcher.configuration import nodes_to_start
from launcher.errors import LaunchError
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


def address(config: Config) -> str | None:
    """What to tell whoever starts the cluster; None if there is no HTTP API."""
    http = config.http
    if http is None:
        return None
    first = nodes_to_start(config)[0]
    return (
        f"HTTP API: {config.http_scheme}://{http.host}:{http.port_of(first)} is node {first}'s, and so on; "
        "`./run.sh key` prints a key for it (docs/http.md)"
    )
