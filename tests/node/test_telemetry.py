"""Logs are one JSON object a line; metrics have the names that dashboards use."""

from __future__ import annotations

import ctypes
import io
import json
import logging
import weakref
from collections.abc import Iterator

import pytest
import structlog

from glasslog_node.telemetry import Metrics, configure_logging, read_anonymous_rss, release_memory


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def test_json_lines_hold_what_was_said() -> None:
    stream = io.StringIO()
    configure_logging("info", "auto", stream=stream)
    log = structlog.get_logger()
    log.info("finalized", height=3)
    log.debug("unseen")
    logging.getLogger("some.package").warning("odd\nthing %s", 7)
    logging.getLogger("some.package").info("unseen")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [("finalized", "info"), ("odd\nthing 7", "warning")]
    assert lines[0]["height"] == 3
    assert lines[1]["library"] == "some.package"


def test_exception_is_one_line() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    structlog.get_logger().error("bug", exc_info=ValueError("why"))
    (line,) = stream.getvalue().splitlines()
    assert "why" in line
    assert json.loads(line)["exception"]


def test_console_form_is_for_people() -> None:
    stream = io.StringIO()
    configure_logging("warning", "console", stream=stream)
    structlog.get_logger().warning("disk is slow", seconds=2)
    assert "disk is slow" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_metrics_text_has_every_name() -> None:
    metrics = Metrics()
    metrics.height.set(7)
    metrics.refused.labels(code="HTTP-04").inc()
    metrics.commit_seconds.observe(0.003)
    text = metrics.text().decode()
    for name in ("finalized_height 7.0", "published_size", "view", "peers_connected", "outbox_depth", "spool_entries"):
        assert f"glasslog_{name}" in text
    assert 'glasslog_commit_seconds_bucket{le="0.005"} 1.0' in text
    assert "glasslog_rss_anonymous_bytes" in text


def test_two_registries_are_apart() -> None:
    one, two = Metrics(), Metrics()
    one.height.set(1)
    assert "glasslog_finalized_height 0.0" in two.text().decode()


def test_anonymous_memory_grows_with_what_is_allocated() -> None:
    before = read_anonymous_rss()
    held = bytearray(b"\x01" * (32 << 20))
    assert read_anonymous_rss() - before > 16 << 20
    assert len(held) == 32 << 20


def test_holes_that_ended_connections_leave_go_back_to_the_system() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this system's allocator cannot be asked to")
    buffers, kept = [], []
    for number in range(200):
        buffers.append(bytearray(b"\x01" * 100_000))
        kept.append(bytes([number]) * 2_000)
    del buffers
    held = read_anonymous_rss()
    release_memory()
    assert held - read_anonymous_rss() > 10 << 20
    assert len(kept) == 200


class _Connection:
    """As one ends: in a cycle, with its buffer."""

    def __init__(self) -> None:
        self.itself = self
        self.buffer = bytearray(96 << 10)


def test_connections_that_ended_are_collected_although_hardly_anything_is_allocated() -> None:
    gone = [weakref.ref(_Connection()) for _ in range(20)]
    release_memory()
    assert all(each() is None for each in gone)
