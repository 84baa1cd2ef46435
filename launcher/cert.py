"""`./run.sh cert`: makes a cluster's certificates."""

from __future__ import annotations

from pathlib import Path

from config.config import Config
from launcher.certificates import make_authority, make_certificate
from launcher.configuration import nodes_to_start
from net.tls import AUTHORITY, NETWORK, node_name

HERE = ["127.0.0.1", "::1", "localhost"]
"""How programs on the same machine call a process."""
USAGE = "for whom? cert ca, cert network HOST, cert node 3 HOST, cert client NAME, or cert for all that is missing"


def make(config: Config, words: list[str]) -> bool:
    """Makes what the words name, or all that is missing. False if they name nothing. Raises LaunchError."""
    folder = config.path.parent / "tls" if config.tls is None else Path(config.tls.ca).parent
    match words:
        case []:
            _make_missing(folder, config)
        case ["ca"]:
            _say(make_authority(folder, config.cluster))
        case ["network", *hosts]:
            _say(make_certificate(folder, config.cluster, NETWORK, _hosts(config, hosts)))
        case ["node", number, *hosts] if number.isascii() and number.isdigit() and 1 <= int(number) <= 65535:
            _say(make_certificate(folder, config.cluster, node_name(int(number)), _hosts(config, hosts)))
        case ["client", name] if name.isascii() and name.replace("-", "").isalnum() and len(name) <= 40:
            _say(make_certificate(folder, config.cluster, f"client-{name}", []))
        case _:
            return False
    print(
        f"Another machine needs {AUTHORITY}.crt and its own two files; {AUTHORITY}.key makes certificates, and "
        "stays here."
    )
    if config.tls is None:
        print(f'To use certificates, put "tls": {{}} into {config.path}, and restart network and nodes.')
    return True


def _make_missing(folder: Path, config: Config) -> None:
    if not (folder / f"{AUTHORITY}.crt").exists():
        _say(make_authority(folder, config.cluster))
    for name in (NETWORK, *map(node_name, nodes_to_start(config))):
        if not (folder / f"{name}.crt").exists():
            _say(make_certificate(folder, config.cluster, name, _hosts(config, [])))


def _hosts(config: Config, given: list[str]) -> list[str]:
    """Those, and how this machine and the configuration call a process."""
    configured = {config.orchestrator.host, *([] if config.http is None else [config.http.host, *config.http.names])}
    return list(dict.fromkeys([*given, *HERE, *sorted(configured - {"0.0.0.0", "::"})]))


def _say(path: Path) -> None:
    print(f"Wrote {path} and {path.with_suffix('.key').name}.")
