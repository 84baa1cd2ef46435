"""`python -m launcher start|stop|reset|backup|restore|rescue|--no-tmux`: what run.sh does once all is installed."""

from __future__ import annotations

import sys
from pathlib import Path

from config.config import Config, ConfigError
from launcher import foreground, tmux
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from launcher.backup import back_up, restore
from launcher.configuration import configuration
from launcher.preconditions import LaunchError, require_free_port, require_tmux
from launcher.rescue import rescue
from launcher.reset import reset


def main(arguments: list[str]) -> int:
    try:
        return _run(arguments[0] if arguments else "start", arguments[1:], configuration())
    except (LaunchError, ConfigError) as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except (EOFError, KeyboardInterrupt):
        print("\nNothing was changed.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(command: str, options: list[str], config: Config) -> int:
    if command == "--no-tmux":
        require_free_port(config)
        return foreground.run(config)
    if command in ("backup", "restore"):
        return _backup(command, options, config)
    if command == "rescue":
        return _rescue(options, config)
    require_tmux()
    match command:
        case "start":
            tmux.start(config)
        case "stop":
            tmux.stop(config)
        case "reset":
            reset(config, confirmed="--yes" in options)
        case _:
            print(__doc__, file=sys.stderr)
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
