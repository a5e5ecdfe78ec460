"""What a node says about itself: structured log lines and metrics, defined here and nowhere else.

Log lines go to standard error: console form on a terminal, one JSON object a line elsewhere. Metrics are
pulled, never pushed. Neither ever carries a key, a token or a statement's content.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import re
import sys
from pathlib import Path
from typing import Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

LogFormat = Literal["auto", "json", "console"]
METRICS_CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0)


def configure_logging(level: str, form: LogFormat, *, stream: TextIO | None = None) -> None:
    """Send this process's log to ``stream`` (standard error), at ``level`` and above, and nothing elsewhere."""
    target = sys.stderr if stream is None else stream
    console = form == "console" or (form == "auto" and target.isatty())
    minimum = logging.getLevelNamesMapping()[level.upper()]
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=target.isatty())]
        if console
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(sort_keys=False)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.PrintLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard library: warnings and worse belong in the same stream.
    logging.basicConfig(level=max(minimum, logging.WARNING), handlers=[_StructlogHandler()], force=True)


class _StructlogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        logger.log(record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info)


class Metrics:
    """One process's metrics, in a registry of their own, so that a test or a second node has its own too."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.height = Gauge("glasslog_finalized_height", "Highest finalized height held here", registry=registry)
        self.size = Gauge("glasslog_finalized_size", "Leaves of the finalized log held here", registry=registry)
        self.published_size = Gauge("glasslog_published_size", "Size of the published checkpoint", registry=registry)
        self.view = Gauge("glasslog_view", "View this replica is in", registry=registry)
        self.epoch = Gauge("glasslog_epoch", "Epoch this replica is in", registry=registry)
        self.peers = Gauge("glasslog_peers_connected", "Members connected now", registry=registry)
        self.outbox = Gauge("glasslog_outbox_depth", "Effects waiting to be carried out", registry=registry)
        self.spooled = Gauge("glasslog_spool_entries", "Entries acknowledged and not yet published", registry=registry)
        self.commit_seconds = Histogram(
            "glasslog_commit_seconds", "Duration of one synced commit", buckets=_SECONDS, registry=registry
        )
        self.publish_seconds = Histogram(
            "glasslog_publish_seconds",
            "From a block's seal to the published checkpoint that covers it",
            buckets=_SECONDS,
            registry=registry,
        )
        self.accepted = Counter("glasslog_submitted_entries", "Entries acknowledged by 202", registry=registry)
        self.refused = Counter("glasslog_refused_requests", "Requests refused, by code", ["code"], registry=registry)
        self.blocks = Counter("glasslog_sealed_blocks", "Own blocks sealed", registry=registry)
        self.misbehaved = Counter(
            "glasslog_peer_faults", "Peers' messages refused, by peer and code", ["peer", "code"], registry=registry
        )
        self.dropped = Counter(
            "glasslog_peer_dropped", "Peers' messages dropped, over their allowance", ["peer"], registry=registry
        )
        self.sent_bytes = Gauge("glasslog_sent_bytes", "Bytes sent to peers", registry=registry)
        self.received_bytes = Gauge("glasslog_received_bytes", "Bytes received from peers", registry=registry)
        rss = Gauge("glasslog_rss_anonymous_bytes", "Anonymous resident memory of this process", registry=registry)
        rss.set_function(read_anonymous_rss)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


def read_anonymous_rss() -> float:
    """Return this process's anonymous resident memory in bytes.

    Mapped LMDB pages are the kernel's cache and would drown the figure (specs/storage.md). Where the kernel does
    not tell them apart, psutil's USS is the nearest figure.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    if match := re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE):
        return float(match[1]) * 1024
    import psutil  # type: ignore[import-untyped]  # publishes no types

    return float(psutil.Process().memory_full_info().uss)


def exempt_startup() -> None:
    """Exempt what the start has loaded from garbage collection: it stays, and is most of what a collection looks at."""
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Collect what ended connections leave, and give the heap's free pages back to the system (glibc; nobody else can).

    A connection ends as a cycle of references around its buffers. Python looks for old cycles after thousands of new
    objects, of which a node that awaits more than it makes has few: in five minutes it never did, while dead
    connections held 10 MB. What is freed leaves holes, which are used again but never given back by themselves.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
