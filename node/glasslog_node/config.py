"""A node's configuration: one TOML file, read once at start, every error reported at once.

Relative paths are relative to the file. A node's role is not configured: it is what the genesis membership
says of ``name``. Nothing here may change what a replica computes; what could is in ``glasslog.limits``.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from glasslog.codec import is_name
from glasslog_node.errors import ConfigError

CONFIG_BYTES_MAX = 1 << 20
UNIX_PREFIX = "unix:"
UNIX_PATH_BYTES_MAX = 100  # sun_path holds 108 bytes on Linux, 104 on the BSDs, with its final zero
_MIN, _MAX = 1, 600_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: a stable code, the key's dotted path, and the fact."""

    code: str
    where: str
    fact: str

    def __str__(self) -> str:
        return f"{self.code} {self.where}: {self.fact}"


class InvalidConfigError(ConfigError):
    """Everything that is wrong with one configuration file. ``problems`` is never empty."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(first.code, f"{first.where}: {first.fact}{more}", f"correct {path}")
        self.path = path
        self.problems = tuple(problems)


def check_name(value: str) -> str:
    """Return a member's name unchanged, or refuse it (specs/log.md, names)."""
    if not is_name(value):
        raise PydanticCustomError("glasslog_value", "a member name is 1 to 63 of a-z, 0-9, '.', '-', not at either end")
    return value


def split_address(value: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; the host is an IP address or a DNS name.

    Raises:
        ValueError: not such an address.
    """
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or not host or not is_number or not 1 <= int(port) <= 65_535:
        raise ValueError("not host:port with a port of 1 to 65535")
    if bracketed or ":" in host:
        if not bracketed:
            raise ValueError("an IPv6 address needs brackets: [::1]:7001")
        ipaddress.IPv6Address(host)
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", host):
        raise ValueError(f"{host!r} is neither an IP address nor a host name")
    return host, int(port)


def is_loopback(bind: str) -> bool:
    """Say whether only processes on this machine can reach this bind address."""
    if bind.startswith(UNIX_PREFIX):
        return True
    host, _ = split_address(bind)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_address(value: str) -> str:
    try:
        split_address(value)
    except ValueError as e:
        raise PydanticCustomError("glasslog_value", "{why}", {"why": str(e)}) from None
    return value


def _check_bind(value: str) -> str:
    if not value.startswith(UNIX_PREFIX):
        return _check_address(value)
    path = value[len(UNIX_PREFIX) :]
    if not path or "\0" in path or len(path.encode("utf-8", "surrogatepass")) > UNIX_PATH_BYTES_MAX:
        raise PydanticCustomError("glasslog_value", "a unix socket path has 1 to 100 bytes")
    return value


Name = Annotated[str, AfterValidator(check_name)]
Address = Annotated[str, AfterValidator(_check_address)]
Bind = Annotated[str, AfterValidator(_check_bind)]
Millis = Annotated[int, Field(ge=_MIN, le=_MAX)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Network(_Section):
    """How members reach one another."""

    listen: Address = Field(description="where peers reach this node, host:port")
    peers: dict[Name, Address] = Field(default_factory=dict, description="other members' addresses, by member name")


class Http(_Section):
    """The interface for this institute's own clients, and the public's read-only one."""

    bind: Bind = Field(description="host:port on loopback, or unix:/path/to/socket")
    token_file: str = Field(default="token", description="bearer token for writes, mode 0600")
    public_bind: Bind | None = Field(default=None, description="read-only interface, in a process of its own")
    allow_remote: bool = Field(default=False, description="let `bind` be other than loopback or a unix socket")
    body_bytes_max: Annotated[int, Field(ge=1 << 16, le=1 << 28)] = Field(
        default=16 << 20, description="largest request body, bytes"
    )
    body_timeout_ms: Millis = Field(default=20_000, description="a whole request body must arrive within this")
    wait_timeout_ms_max: Millis = Field(default=60_000, description="longest `?wait=` that is granted")
    spool_entries_max: Annotated[int, Field(ge=1_000, le=100_000_000)] = Field(
        default=1_000_000, description="429 above this many entries not yet published"
    )


class Log(_Section):
    """What the node says about itself on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = Field(default="auto", description="auto: console on a terminal")


class Pacing(_Section):
    """How eagerly a leader proposes and an author seals. Safe at any value; these trade latency for CPU."""

    height_interval_ms: Millis = Field(default=125, description="under load, at least this between own proposals")
    seal_interval_ms: Millis = Field(
        default=100, description="while an own block is open, the next is sealed when full or after this"
    )
    republish_ms: Millis = Field(default=2_000, description="announce an unfinalized own block again after this")


class Timers(_Section):
    """When to give up waiting (specs/agreement.md, A6). Safe at any value; too short costs views."""

    delay_ms: Millis = Field(default=300, description="one message delay between members; a view waits three")
    fetch_ms: Millis = Field(default=1_000, description="fetch budget added to every view's timer")
    view_ms_max: Millis = Field(default=30_000, description="cap of the timer, however many views failed")
    status_ms: Millis = Field(default=2_000, description="how often status is sent to every peer")
    cosign_idle_ms: Millis = Field(default=10_000, description="idle: cosign the same checkpoint again after this")


class NodeConfig(_Section):
    """One node's settings, with every path made absolute."""

    name: Name = Field(description="this member's name in the genesis membership")
    data: Path = Field(default=Path("data"), description="the replica's folder")
    genesis: Path = Field(default=Path("genesis"), description="the network's genesis file")
    keys: Path = Field(default=Path("keys"), description="this member's keys, mode 0700")
    network: Network
    http: Http
    log: Log = Field(default_factory=Log)
    pacing: Pacing = Field(default_factory=Pacing)
    timers: Timers = Field(default_factory=Timers)

    @property
    def token_path(self) -> Path:
        """The bearer token's file."""
        return Path(self.http.token_file)


def load_config(path: Path) -> NodeConfig:
    """Read a configuration file.

    Raises:
        ConfigError: CONFIG-01 no such file, CONFIG-02 not TOML.
        InvalidConfigError: everything else that is wrong with it, at once.
    """
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise ConfigError("CONFIG-01", f"{path}: {reason}", "pass the right --config FILE") from e
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigError("CONFIG-02", f"{path} is larger than 1 MiB", "pass the right --config FILE")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as e:  # also what is no TOMLDecodeError: an integer of over 4,300 digits
        raise ConfigError("CONFIG-02", f"{path} is not TOML: {e}", "correct the line it names") from e
    return parse_config(table, path)


def parse_config(table: Mapping[str, Any], path: Path) -> NodeConfig:
    """Check a parsed table; ``path`` anchors relative paths and is named in messages.

    Raises:
        InvalidConfigError: all problems, in the order of their paths.
    """
    base = path.absolute().parent
    rooted = _root_paths(table, base)
    try:
        config = NodeConfig.model_validate(rooted)
    except ValidationError as e:
        problems = sorted((_problem(detail) for detail in e.errors()), key=lambda p: (p.where, p.code))
        raise InvalidConfigError(path, problems) from None
    if problems := list(_contradictions(config)):
        raise InvalidConfigError(path, problems)
    return config


def _root_paths(table: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Replace path texts by absolute paths, defaults included; leaves all that is not text for pydantic to refuse."""
    rooted = dict(table)
    for key, default in (("data", "data"), ("genesis", "genesis"), ("keys", "keys")):
        value = rooted.get(key, default)
        if isinstance(value, str):
            rooted[key] = base / value
    http = rooted.get("http")
    if isinstance(http, dict):
        section: dict[str, Any] = dict(http)  # pyright: ignore[reportUnknownArgumentType] - TOML; pydantic judges it
        token = section.get("token_file", "token")
        if isinstance(token, str):
            section["token_file"] = str(base / token)
        for key in ("bind", "public_bind"):
            bind = section.get(key)
            if isinstance(bind, str) and bind.startswith(UNIX_PREFIX) and len(bind) > len(UNIX_PREFIX):
                section[key] = UNIX_PREFIX + str(base / bind[len(UNIX_PREFIX) :])
        rooted["http"] = section
    return rooted


def _contradictions(config: NodeConfig) -> Iterator[Problem]:
    if not config.http.allow_remote and not is_loopback(config.http.bind):
        fact = "not loopback: anyone who can reach it can read, and submit with the token; set allow_remote to mean it"
        yield Problem("CONFIG-06", "http.bind", fact)
    if config.http.public_bind == config.http.bind:
        yield Problem("CONFIG-06", "http.public_bind", "the same as http.bind; give the public its own address")
    if config.name in config.network.peers:
        yield Problem("CONFIG-06", f"network.peers.{config.name}", "this is the node itself, not a peer")
    if config.network.listen == config.http.bind:
        yield Problem("CONFIG-06", "http.bind", "the same as network.listen; peers and HTTP need one port each")
    seen: dict[str, str] = {}
    for peer, address in config.network.peers.items():
        other = seen.setdefault(address, peer)
        if other != peer:
            yield Problem("CONFIG-06", f"network.peers.{peer}", f"the same address as {other}")
    if config.timers.view_ms_max < config.timers.fetch_ms + 3 * config.timers.delay_ms:
        yield Problem("CONFIG-06", "timers.view_ms_max", "less than fetch_ms + 3 * delay_ms, the first view's timer")


def _problem(detail: ErrorDetails) -> Problem:
    where = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    match detail["type"]:
        case "missing":
            return Problem("CONFIG-03", where, "is missing")
        case "extra_forbidden":
            return Problem("CONFIG-04", where, f"unknown key{_suggestion(detail['loc'])}")
        case "glasslog_value" | "literal_error" | "greater_than_equal" | "less_than_equal":
            return Problem("CONFIG-05", where, f"{_lower(detail['msg'])} (it is {_shown(detail['input'])})")
        case _:
            return Problem("CONFIG-05", where, f"{_lower(detail['msg'])} (it is {_shown(detail['input'])})")


def _suggestion(loc: tuple[int | str, ...]) -> str:
    """Name the nearest key that exists where the unknown one stands."""
    known = _fields_at(loc[:-1])
    near = get_close_matches(str(loc[-1]), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(sorted(known))}"


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = NodeConfig
    for part in loc:
        inner = model.model_fields[str(part)].annotation
        if not isinstance(inner, type) or not issubclass(inner, BaseModel):
            return []
        model = inner
    return list(model.model_fields)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of over 4,300 digits, and reads hexadecimal ones of any length
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
