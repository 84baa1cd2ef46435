"""config.json: its keys, their defaults, and its errors, each in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from config.engine_settings import EngineSettings
from config.engine_settings import mistake as engine_mistake
from config.errors import explain
from config.files import MissingFile, UnusableFile, read_whole, shown_path
from config.http_settings import HttpSettings, is_loopback, mistake
from config.json_text import MAX_BYTES, JsonTextError, decoded, parsed, shown
from config.llm_settings import LlmSettings, overlay
from config.prices import Price
from config.secret_strength import HOW_TO_DRAW, is_weak
from config.tls_settings import TlsSettings, missing

Json: TypeAlias = dict[str, Any]

DEFAULT_PATH = "config.json"
MIN_SECRET = 8

_MAX_NAME, _MAX_PATH = 255, 4000
"""Bytes that file systems take."""
_TEXTS = ("system_prompt", "fail")
_UNSAFE = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_CONTROL, _CONTROL_IN_TEXT = re.compile(f"[\t\n\r{_UNSAFE}]"), re.compile(f"[{_UNSAFE}]")

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


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of each node."""

    bytes_per_minute: Annotated[int, msgspec.Meta(ge=1024 * 1024, le=2**40)] = 256 * 1024 * 1024
    """What it takes from its users."""


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
    limits: LimitsConfig
    llm: LlmSettings
    """The common settings."""
    http: HttpSettings | None = None
    """None: there is no HTTP API."""
    engine: EngineSettings = EngineSettings()
    """Paths are absolute, and etcd has a prefix."""
    tls: TlsSettings | None = None
    """With absolute paths. None: nothing is encrypted, and everything is on this machine."""
    prices: dict[str, Price] = {}
    """By model."""

    @property
    def node_ids(self) -> list[int]:
        return sorted(node.id for node in self.nodes)

    @property
    def http_scheme(self) -> str:
        return "http" if self.tls is None else "https"

    def node(self, number: int) -> NodeConfig:
        """One that the file does not list, because it became a member later, has the common settings."""
        return next((node for node in self.nodes if node.id == number), NodeConfig(number, self.llm))

    def require(self, number: int) -> None:
        """Raises ConfigError if the file lists no such node."""
        if number not in self.node_ids:
            known = ", ".join(map(str, self.node_ids))
            raise ConfigError(f"there is no node {number} in {shown_path(self.path)}: it has {known}")


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
    limits: LimitsConfig = LimitsConfig()
    http: HttpSettings | None = None
    engine: EngineSettings = EngineSettings()
    tls: TlsSettings | None = None
    prices: dict[str, Price] = {}


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
        text = decoded(read_whole(path, MAX_BYTES))
    except MissingFile:
        hint = "copy config.json.example there, or give another file with --config"
        raise ConfigError(f"{shown_path(path)} does not exist: {hint}") from None
    except UnusableFile as error:
        raise ConfigError(f"{shown_path(path)} cannot be read: {error}") from error
    except JsonTextError as error:
        raise ConfigError(f"{shown_path(path)} {error}") from None
    return parse(text, path, providers, default)


def parse(
    text: str, path: Path, providers: Collection[str], default: Callable[[Path, str], Path] = default_data_dir
) -> Config:
    """Like `load`, for the text of the file `path`. Raises ConfigError."""
    try:
        return _checked(parsed(text), path, providers, default)
    except JsonTextError as error:
        raise ConfigError(f"{shown_path(path)} {error}") from None
    except _Invalid as invalid:
        raise ConfigError(f"{shown_path(path)}: {invalid}") from None


class _Invalid(Exception):
    """An error in the file; without the file's name."""


def _checked(raw: Any, path: Path, providers: Collection[str], default: Callable[[Path, str], Path]) -> Config:
    if not isinstance(raw, dict):
        raise _Invalid(f'the file is {shown(raw)}; it must be an object with at least the key "nodes"')
    file = _convert(lambda: msgspec.convert(raw, _File), _File, "", raw)
    _no_controls(raw, "")
    seen: set[int] = set()
    for index, section in enumerate(file.nodes):
        if section.id in seen:
            raise _Invalid(
                f"nodes[{index}].id is {section.id}, which another node has too: each node needs its own number"
            )
        seen.add(section.id)
    # Checked even if every node has its own settings: a mistake in the common ones is still a mistake.
    common = _llm(LlmSettings(), file.llm, "llm", providers)
    nodes = tuple(
        NodeConfig(section.id, _located(_llm(common, section.llm, where, providers), where, path.parent))
        for section, where in ((section, f"nodes[{index}].llm") for index, section in enumerate(file.nodes))
    )
    timing = file.timing
    if timing.heartbeat_ms >= timing.election_ms:
        raise _Invalid(
            f"timing.heartbeat_ms is {timing.heartbeat_ms}; it must be less than timing.election_ms, "
            f"which is {timing.election_ms}"
        )
    _require_protection(file, seen)
    given = file.data_dir
    return Config(
        path=path,
        cluster=file.cluster,
        data_dir=default(path, file.cluster) if given is msgspec.UNSET else _path("data_dir", given, path.parent),
        secret=file.secret,
        orchestrator=file.orchestrator,
        nodes=nodes,
        timing=timing,
        limits=file.limits,
        llm=_located(common, "llm", path.parent),
        http=file.http,
        engine=_complete(file.engine, file.cluster, path.parent),
        tls=None if file.tls is None else _tls(file.tls, path.parent),
        prices=file.prices,
    )


def _require_protection(file: _File, numbers: set[int]) -> None:
    """What other machines can reach must be encrypted, and needs a secret that is hard to guess."""
    host = file.orchestrator.host
    for where, given in (("orchestrator", host), ("http", host if file.http is None else file.http.host)):
        if given.startswith("[") or given.endswith("]"):
            raise _Invalid(f'{where}.host is {shown(given)}; an IPv6 address is written without brackets, as "::1"')
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
    wrong = missing(file.tls, host, file.http) or (
        None if file.http is None else mistake(file.http, numbers, file.orchestrator.port)
    )
    wrong = wrong or engine_mistake(file.engine)
    if wrong is not None:
        raise _Invalid(wrong)


def _tls(tls: TlsSettings, folder: Path) -> TlsSettings:
    """With absolute paths."""
    located = {key: str(_path(f"tls.{key}", getattr(tls, key), folder)) for key in ("ca", "cert", "key")}
    return msgspec.structs.replace(tls, **located)


def _complete(engine: EngineSettings, cluster: str, folder: Path) -> EngineSettings:
    """With a prefix, and with absolute paths."""
    if not engine.is_etcd:
        return engine
    tls = engine.tls
    if tls is not None:
        files = ((name, getattr(tls, name)) for name in ("ca", "cert", "key"))
        tls = msgspec.structs.replace(tls, **{
            name: str(_path(f"engine.tls.{name}", given, folder)) for name, given in files if given is not None
        })
    prefix = (engine.prefix or f"consensusllm/{cluster}").strip("/")
    return msgspec.structs.replace(engine, tls=tls, prefix=prefix)


def _llm(common: LlmSettings, own: Json, where: str, providers: Collection[str]) -> LlmSettings:
    settings = _convert(lambda: overlay(common, own), LlmSettings, where, own)
    if settings.provider is not None and settings.provider not in providers:
        allowed = ", ".join(shown(name) for name in sorted(providers))
        raise _Invalid(f"{where}.provider is {shown(settings.provider)}; it must be one of {allowed} or null")
    return settings


def _located(settings: LlmSettings, where: str, folder: Path) -> LlmSettings:
    """With the path of a local model, if there is one, made absolute."""
    if settings.model is not None and (settings.provider == "local" or settings.model.endswith(".gguf")):
        return msgspec.structs.replace(settings, model=str(_path(f"{where}.model", settings.model, folder)))
    return settings


def _path(key: str, given: str, folder: Path) -> Path:
    """The file or directory of a name that is relative to `folder`."""
    if any(len(part.encode()) > _MAX_NAME for part in given.split("/")) or len(given.encode()) > _MAX_PATH:
        raise _Invalid(f"{key} is {shown(given)}, which is too long for a path")
    try:
        return folder / Path(given).expanduser()
    except RuntimeError:
        user = given.split("/")[0]
        raise _Invalid(f"{key} is {shown(given)}; there is no home directory {shown(user)} on this machine") from None


def _no_controls(value: Any, key: str) -> None:
    """Nothing in the file may control a terminal that shows it; only the texts for LLMs have several lines."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "secret":  # it is never shown
                named = name if name.isidentifier() else shown(name)
                _no_controls(inner, f"{key}.{named}" if key else named)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _no_controls(inner, f"{key}[{index}]")
    elif isinstance(value, str):
        name = key.rpartition(".")[2]
        found = (_CONTROL_IN_TEXT if name in _TEXTS else _CONTROL).search(value)
        if found is not None:
            raise _Invalid(f"{key} contains the control character {shown(found.group())}, which is not allowed there")


_T = TypeVar("_T")


def _convert(convert: Callable[[], _T], target: type, where: str, raw: Any) -> _T:
    """What `convert` makes of `raw`, a `target`. Raises _Invalid, naming keys from `where` on."""
    try:
        return convert()
    except msgspec.ValidationError as error:
        raise _Invalid(explain(error, target, where, raw)) from None
