"""`python -m launcher start|reset|key|page|cert|backup|restore|rescue|--no-tmux`: what run.sh does once all is
installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from config.config import Config, ConfigError
from launcher import foreground, foreground_record, sessions, tmux
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, escape_what_cannot_be_shown
from launcher.backup import back_up, restore
from launcher.configuration import configuration
from launcher.data_directory import claim, require_own
from launcher.errors import LaunchError, NotUnderstood
from launcher.http_address import address, key_for, page
from launcher.paths import config_path
from launcher.preconditions import require_certificates, require_free_port
from launcher.rescue import rescue
from launcher.reset import reset

_OPTIONS: Final = {"start": (), "--no-tmux": (), "reset": ("--yes",)}
"""Of commands that take no words of the user's own. What is not understood could mean another cluster."""


def main(arguments: list[str]) -> int:
    escape_what_cannot_be_shown()
    try:
        return _run(arguments[0] if arguments else "start", arguments[1:])
    except (LaunchError, ConfigError) as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError | NotUnderstood) else EXIT_FAILED
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was changed.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(command: str, options: list[str]) -> int:
    odd = [option for option in options if command in _OPTIONS and option not in _OPTIONS[command]]
    if odd:
        raise NotUnderstood(odd[0])
    match command:
        case "start":
            _start()
        case "--no-tmux":
            config = configuration()
            require_free_port(config)
            require_certificates(config)
            claim(config)
            _tell_address(config)
            with foreground_record.recorded(config.path):
                return foreground.run(config)
        case "reset":
            reset(configuration(), confirmed="--yes" in options)
        case "key" | "page":
            return _key(command, options, configuration())
        case "cert":
            return _cert(options, configuration())
        case "backup" | "restore":
            return _backup(command, options, configuration())
        case "rescue":
            return _rescue(options, configuration())
        case _:
            print(__doc__, file=sys.stderr)
            return EXIT_USAGE
    return 0


def _start() -> None:
    """Whatever the configuration says now, what is running is shown."""
    sessions.require_tmux()
    session = sessions.find(config_path())
    if session is not None:
        print("The cluster is already running.")
        tmux.attach(session.name, session.server)
        return
    config = configuration()
    require_free_port(config)
    require_certificates(config)
    claim(config)
    _tell_address(config)
    tmux.start(config)


def _tell_address(config: Config) -> None:
    told = address(config)
    if told is not None:
        print(told, flush=True)


def _key(command: str, options: list[str], config: Config) -> int:
    """The key itself, or the live page's address with it."""
    if len(options) > 1:
        print(f"run.sh: which role? for example: ./run.sh {command} read", file=sys.stderr)
        return EXIT_USAGE
    require_own(config)
    role = options[0] if options else "operate"
    print(key_for(config, role) if command == "key" else page(config, role))
    return 0


def _cert(options: list[str], config: Config) -> int:
    from launcher import cert  # loads cryptography

    if not cert.make(config, options):
        print(f"run.sh: {cert.USAGE}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def _backup(command: str, options: list[str], config: Config) -> int:
    force = "--force" in options
    files = [option for option in options if option != "--force"]
    if len(files) != 1 or (force and command == "restore"):
        print(f"run.sh: which file? for example: ./run.sh {command} demo.backup", file=sys.stderr)
        return EXIT_USAGE
    if command == "backup":
        back_up(config, Path(files[0]).absolute(), force=force)
    else:
        restore(config, Path(files[0]))
    return 0


def _rescue(options: list[str], config: Config) -> int:
    if len(options) > 1 or not all(option.isascii() and option.isdigit() for option in options):
        print("run.sh: from which node's data? for example: ./run.sh rescue 4", file=sys.stderr)
        return EXIT_USAGE
    rescue(config, int(options[0]) if options else None)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
