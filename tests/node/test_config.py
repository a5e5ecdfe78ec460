"""Configuration: every error at once, each with its path; nothing accepted that would surprise."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from glasslog_node.config import (
    Http,
    InvalidConfigError,
    Network,
    NodeConfig,
    Pacing,
    Timers,
    is_loopback,
    load_config,
    parse_config,
    split_address,
)
from glasslog_node.errors import ConfigError

PATH = Path("/etc/glasslog/config.toml")
MINIMAL: dict[str, Any] = {
    "name": "lab-1.example",
    "network": {"listen": "127.0.0.1:7001"},
    "http": {"bind": "127.0.0.1:8001"},
}


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in change.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


def problems(change: Mapping[str, Any]) -> list[str]:
    with pytest.raises(InvalidConfigError) as refusal:
        parse_config(merged(MINIMAL, change), PATH)
    return [str(problem) for problem in refusal.value.problems]


def test_minimal_file_gets_documented_defaults() -> None:
    config = parse_config(MINIMAL, PATH)
    assert config.data == PATH.parent / "data"
    assert config.genesis == PATH.parent / "genesis"
    assert config.token_path == PATH.parent / "token"
    assert config.timers.view_ms_max >= config.timers.fetch_ms + 3 * config.timers.delay_ms


@pytest.mark.parametrize("section", [NodeConfig, Network, Http, Pacing, Timers])
def test_every_setting_says_what_it_is(section: type[BaseModel]) -> None:
    sections = {"network", "http", "log", "pacing", "timers"}
    assert [n for n, field in section.model_fields.items() if not field.description and n not in sections] == []


def test_all_errors_are_reported_at_once_in_order_of_path() -> None:
    found = problems(
        {
            "name": "Not A Name",
            "network": {"listen": "nowhere", "peers": {"x": "127.0.0.1:99999"}},
            "http": {"body_bytes_max": "many"},
            "timers": {"delay_ms": 0},
            "extra": 1,
        }
    )
    starts = [line.split(":")[0] for line in found]
    assert starts == [
        "CONFIG-04 extra",
        "CONFIG-05 http.body_bytes_max",
        "CONFIG-05 name",
        "CONFIG-05 network.listen",
        "CONFIG-05 network.peers.x",
        "CONFIG-05 timers.delay_ms",
    ]


def test_missing_keys_are_each_named() -> None:
    with pytest.raises(InvalidConfigError) as refusal:
        parse_config({"http": {}}, PATH)
    assert [p.where for p in refusal.value.problems] == ["http.bind", "name", "network"]
    assert {p.code for p in refusal.value.problems} == {"CONFIG-03"}


@pytest.mark.parametrize(
    ("change", "suggestion"),
    [
        ({"netwrok": {}}, "did you mean 'network'?"),
        ({"network": {"peer": {}}}, "did you mean 'peers'?"),
        ({"timers": {"delay": 3}}, "did you mean 'delay_ms'?"),
        ({"zzz": 1}, "known here: data, genesis"),
    ],
)
def test_unknown_key_gets_the_nearest_known_name(change: Mapping[str, Any], suggestion: str) -> None:
    (line,) = problems(change)
    assert suggestion in line


@pytest.mark.parametrize("bind", ["0.0.0.0:80", "192.0.2.1:80", "[::]:80", "example.org:80"])
def test_bind_beyond_loopback_needs_to_be_meant(bind: str) -> None:
    assert "CONFIG-06 http.bind" in problems({"http": {"bind": bind}})[0]
    assert parse_config(merged(MINIMAL, {"http": {"bind": bind, "allow_remote": True}}), PATH).http.bind == bind


@pytest.mark.parametrize("bind", ["127.0.0.1:80", "127.8.8.8:1", "[::1]:80", "localhost:65535", "unix:/run/x"])
def test_bind_on_this_machine_is_accepted(bind: str) -> None:
    assert is_loopback(bind)
    assert parse_config(merged(MINIMAL, {"http": {"bind": bind}}), PATH).http.bind == bind


def test_unix_path_is_relative_to_the_file() -> None:
    config = parse_config(merged(MINIMAL, {"http": {"bind": "unix:run/http"}}), PATH)
    assert config.http.bind == "unix:/etc/glasslog/run/http"


@pytest.mark.parametrize("bind", ["unix:", "unix:" + "x" * 200, "unix:a\0b"])
def test_impossible_unix_path_is_refused(bind: str) -> None:
    assert "CONFIG-05 http.bind" in problems({"http": {"bind": bind}})[0]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"network": {"peers": {"lab-1.example": "127.0.0.1:1"}}}, "network.peers.lab-1.example"),
        ({"network": {"peers": {"a": "h:1", "b": "h:1"}}}, "network.peers.b"),
        ({"network": {"listen": "127.0.0.1:8001"}}, "http.bind"),
        ({"http": {"public_bind": "127.0.0.1:8001"}}, "http.public_bind"),
        ({"timers": {"view_ms_max": 100}}, "timers.view_ms_max"),
    ],
)
def test_contradictions_are_refused(change: Mapping[str, Any], where: str) -> None:
    (line,) = problems(change)
    assert line.startswith(f"CONFIG-06 {where}:")


@given(st.text())
def test_any_text_as_an_address_is_split_or_refused(text: str) -> None:
    try:
        host, port = split_address(text)
    except ValueError:
        return
    assert host
    assert 1 <= port <= 65_535


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known_keys = st.sampled_from([*NodeConfig.model_fields, "extra"])


@given(st.dictionaries(known_keys, toml_values, max_size=6))
def test_any_table_is_accepted_or_refused_with_every_path(change: Mapping[str, Any]) -> None:
    try:
        config = parse_config(change, PATH)
    except InvalidConfigError as refusal:
        said = refusal
    else:
        assert config.name
        return
    assert all(p.code.startswith("CONFIG-") and p.where and p.fact for p in said.problems)
    assert "Next: correct /etc/glasslog/config.toml" in str(said)


@pytest.mark.parametrize("content", [b"= 1", b"\xff", b"[" * 5000, b"x" * (1 << 21), b'a = "\n"'])
def test_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^CONFIG-02 .*config.toml"):
        load_config(path)


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^CONFIG-01 .*no such file"):
        load_config(tmp_path / "none.toml")


def test_loaded_paths_are_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('name = "a"\n[network]\nlisten = "127.0.0.1:1"\n[http]\nbind = "127.0.0.1:2"\n')
    assert tomllib.loads(path.read_text())["name"] == load_config(path).name
    assert load_config(path).keys == tmp_path / "keys"
