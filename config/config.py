"""config.json: its keys, their defaults, and its errors, each in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from config.errors import explain, shown
from config.http_settings import HttpSettings, is_loopback, mistake
from config.llm_settings import LlmSettings, overlay
from config.secret_strength import HOW_TO_DRAW, is_weak

Json: TypeAlias = dict[str, Any]

DEFAULT_PATH = "config.json"
MIN_SECRET = 8

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class ConfigError(Exception):
    """The configuration cannot be used; the text names the key, its value, and the allowed values."""


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the orchestrator listens and the nodes connect to."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 7400

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


class TimingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Milliseconds. `election_ms` is how long a leader may be silent on a network without delay."""

    heartbeat_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 50
    election_ms: Annotated[int, msgspec.Meta(ge=2, le=600_000)] = 400


class NodeConfig(msgspec.Struct, frozen=True):
    """One node; `llm` is complete: the common settings, overridden by its own."""

    id: int
    llm: LlmSettings


class Config(msgspec.Struct, frozen=True):
    """A checked configuration."""

    path: Path
    """The file it came from, absolute."""
    cluster: str
    data_dir: Path
    """Absolute; it need not exist."""
    secret: str | None
    orchestrator: Endpoint
    nodes: tuple[NodeConfig, ...]
    """At least one, in the order of the file."""
    timing: TimingConfig
    llm: LlmSettings
    """The common settings."""
    http: HttpSettings | None = None
    """None: there is no HTTP API."""

    @property
    def node_ids(self) -> list[int]:
        return sorted(node.id for node in self.nodes)

    def node(self, number: int) -> NodeConfig:
        """One that the file does not list, because it became a member later, has the common settings."""
        return next((node for node in self.nodes if node.id == number), NodeConfig(number, self.llm))

    def require(self, number: int) -> None:
        """Raises ConfigError if the file lists no such node."""
        if number not in self.node_ids:
            raise ConfigError(f"there is no node {number} in {self.path}: it has {', '.join(map(str, self.node_ids))}")


class _NodeSection(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    llm: Json = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The file as written. The llm sections are checked once they are laid over each other."""

    nodes: Annotated[list[_NodeSection], msgspec.Meta(min_length=1)]
    cluster: Annotated[str, msgspec.Meta(pattern=_NAME)] = "demo"
    data_dir: Annotated[str, msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    secret: Annotated[str, msgspec.Meta(min_length=MIN_SECRET)] | None = None
    orchestrator: Endpoint = Endpoint()
    llm: Json = {}
    timing: TimingConfig = TimingConfig()
    http: HttpSettings | None = None


def default_data_dir(path: Path, cluster: str) -> Path:
    """Where a cluster's data are if its file `path` does not say."""
    return path.parent / "data"


def load(
    path: Path | str, providers: Collection[str], default: Callable[[Path, str], Path] = default_data_dir
) -> Config:
    """Reads and checks a configuration file. `providers` are the LLM providers that there are, by name; `default` gives
    the data directory if the file does not say.

    Raises ConfigError.
    """
    path = Path(path).absolute()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = "copy config.json.example there, or give another file with --config"
        raise ConfigError(f"{path} does not exist: {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return parse(text, path, providers, default)


def parse(
    text: str, path: Path, providers: Collection[str], default: Callable[[Path, str], Path] = default_data_dir
) -> Config:
    """Like `load`, for the text of the file `path`. Raises ConfigError."""
    raw = _json(text, path)
    try:
        return _checked(raw, path, providers, default)
    except _Invalid as invalid:
        raise ConfigError(f"{path}: {invalid}") from None


class _Invalid(Exception):
    """An error in the file; without the file's name."""


def _json(text: str, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> Json:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f'{path}: the key "{key}" occurs twice in the same section')
        return dict(pairs)

    def no_number(word: str) -> None:
        raise ConfigError(f"{path}: {word} is not a JSON number")

    try:
        raw = json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
        # An escape like \ud800 alone is a lone surrogate: such text cannot be sent or stored.
        json.dumps(raw, ensure_ascii=False).encode()
        return raw
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path} is not valid JSON: {error.msg} at {where}") from None
    except ValueError as error:
        raise ConfigError(f"{path} cannot be used: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid JSON: too deeply nested") from None


def _checked(raw: Any, path: Path, providers: Collection[str], default: Callable[[Path, str], Path]) -> Config:
    if not isinstance(raw, dict):
        raise _Invalid(f'the file is {shown(raw)}; it must be an object with at least the key "nodes"')
    file = _convert(lambda: msgspec.convert(raw, _File), _File, "", raw)
    ids = [section.id for section in file.nodes]
    for index, number in enumerate(ids):
        if number in ids[:index]:
            raise _Invalid(f"nodes[{index}].id is {number}, which another node has too: each node needs its own number")
    # Checked even if every node has its own settings: a mistake in the common ones is still a mistake.
    common = _llm(LlmSettings(), file.llm, "llm", providers)
    nodes = tuple(
        NodeConfig(
            section.id, _located(_llm(common, section.llm, f"nodes[{index}].llm", providers), path.parent)
        )
        for index, section in enumerate(file.nodes)
    )
    timing, host = file.timing, file.orchestrator.host
    if timing.heartbeat_ms >= timing.election_ms:
        raise _Invalid(
            f"timing.heartbeat_ms is {timing.heartbeat_ms}; it must be less than timing.election_ms, "
            f"which is {timing.election_ms}"
        )
    if file.secret is None and not file.orchestrator.is_loopback:
        raise _Invalid(
            f'secret is null; with orchestrator.host "{host}", which other machines can reach, '
            f"it must be a string of at least {MIN_SECRET} characters shared by all nodes. {HOW_TO_DRAW}"
        )
    if file.secret is not None and not file.orchestrator.is_loopback and is_weak(file.secret):
        raise _Invalid(
            f'secret is weak ({len(file.secret)} characters; short, common or regular ones can be guessed), and '
            f'orchestrator.host "{host}" lets other machines try. {HOW_TO_DRAW}'
        )
    wrong = None if file.http is None else mistake(file.http, ids, file.orchestrator.port)
    if wrong is not None:
        raise _Invalid(wrong)
    given = file.data_dir
    return Config(
        path=path,
        cluster=file.cluster,
        data_dir=default(path, file.cluster) if given is msgspec.UNSET else path.parent / Path(given).expanduser(),
        secret=file.secret,
        orchestrator=file.orchestrator,
        nodes=nodes,
        timing=timing,
        llm=_located(common, path.parent),
        http=file.http,
    )


def _llm(common: LlmSettings, own: Json, where: str, providers: Collection[str]) -> LlmSettings:
    settings = _convert(lambda: overlay(common, own), LlmSettings, where, own)
    if settings.provider is not None and settings.provider not in providers:
        allowed = ", ".join(shown(name) for name in sorted(providers))
        raise _Invalid(f"{where}.provider is {shown(settings.provider)}; it must be one of {allowed} or null")
    return settings


def _located(settings: LlmSettings, folder: Path) -> LlmSettings:
    """With the path of a local model, if there is one, made absolute."""
    if settings.model is not None and (settings.provider == "local" or settings.model.endswith(".gguf")):
        return msgspec.structs.replace(settings, model=str(folder / Path(settings.model).expanduser()))
    return settings


_T = TypeVar("_T")


def _convert(convert: Callable[[], _T], target: type, where: str, raw: Any) -> _T:
    """What `convert` makes of `raw`, a `target`. Raises _Invalid, naming keys from `where` on."""
    try:
        return convert()
    except msgspec.ValidationError as error:
        raise _Invalid(explain(error, target, where, raw)) from None
