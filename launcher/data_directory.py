"""Which data directory a configuration means, and whether it may be used: one belongs to one cluster."""

from __future__ import annotations

import os
from pathlib import Path

from config.config import DEFAULT_PATH, Config, ConfigError, default_data_dir, load
from launcher.errors import LaunchError
from llm import registry
from storage import ownership
from storage.errors import StorageError


def default(path: Path, cluster: str) -> Path:
    """The folder `data` beside the file, or, if that is another file's cluster's, this one's own folder in there."""
    common = default_data_dir(path, cluster)
    own = common / cluster
    try:
        theirs, mine = ownership.owner_of(common), ownership.owner_of(own)
    except StorageError:
        return common  # told by whoever writes there
    if mine is not None and mine.cluster == cluster:
        return own
    if theirs is None or theirs.cluster == cluster:
        return common
    # A file whose cluster was renamed has no other data for that: it is told whose these are.
    renamed = path.name == DEFAULT_PATH if theirs.config is None else theirs.uses(common, path)
    return common if renamed else own


def claim(config: Config) -> None:
    """Makes the data directory this configuration's. Raises LaunchError if it is another one's."""
    require_own(config)
    try:
        ownership.claim(config.data_dir, config.cluster, config.path)
    except StorageError as error:
        raise LaunchError(str(error)) from error


def require_own(config: Config) -> None:
    """Raises LaunchError if the data directory is another cluster's, or that of another configuration."""
    try:
        ownership.require_owner(config.data_dir, config.cluster, config.path)
        owner = ownership.owner_of(config.data_dir)
    except StorageError as error:
        raise LaunchError(str(error)) from error
    if owner is not None and owner.config is None and (rival := _rival(config)):
        raise LaunchError(
            f'{config.data_dir} belongs to the cluster of {rival}: set another "data_dir" in {config.path}'
        )


def _rival(config: Config) -> Path | None:
    """The default configuration beside this one, if it means the same cluster in the same directory: disks of release
    0.1.0, which left no word on whose they are, are its."""
    path = config.path.with_name(DEFAULT_PATH)
    if config.path.name == DEFAULT_PATH or not path.exists():
        return None
    try:
        other = load(path, registry.names(), default)
    except ConfigError:
        return path  # which of them it is cannot be told
    there = os.path.realpath(other.data_dir) == os.path.realpath(config.data_dir)
    return path if there and other.cluster == config.cluster else None
