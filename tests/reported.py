"""Reports of stories: an order, and what a replica's published log comes to under it."""

from __future__ import annotations

from pathlib import Path

from audit_ledger import MemorySource
from claims_ledger import Story, root
from glasslog.audit import Source
from glasslog.audit.reporting import Order, ReportDocument, Software
from glasslog_node.cli.report import examine
from glasslog_node.reporting.bundle import add_report, open_bundle, write_bundle
from glasslog_node.reporting.published_log import PublishedLog

SOFTWARE = Software("glasslog", "0", "ab" * 32)
HOSTILE = (
    "<script>alert(1)</script>\u202eevil\u0000\x1b[31m\n\r\u2028Z\u0301" + "\u0301" * 40 + "漢字 עברית" + "x" * 10_000
)


def make_order(policy: bytes, **members: object) -> Order:
    said: dict[str, object] = {
        "question": "Was it trained as stated?", "scope": "the whole log", "policy": policy, "policy_source": "by hand",
        "model": root("tuned"), "examiners": ("Authority",), "keys": (), "finished": "2027-04-01T12:00:00Z",
        "software": SOFTWARE, "reply": b"We contest this.\nAll of it.", **members,
    }  # fmt: skip
    return Order(**said)  # type: ignore[arg-type]  # any members


def report_on(source: Source, order: Order) -> ReportDocument:
    return examine(PublishedLog(source), order)


def report_story(story: Story, **members: object) -> ReportDocument:
    world = story.grow()
    return report_on(world.source(), make_order(world.policy.format(), **members))


def save_bundle(path: Path, source: MemorySource | Source, order: Order) -> ReportDocument:
    with path.open("w+b") as file:
        write_bundle(file, order, source)
    document = replay(path)
    with path.open("r+b") as file:
        add_report(file, document.to_json())
    return document


def replay(path: Path) -> ReportDocument:
    with open_bundle(path) as opened:
        return examine(opened.log, opened.order)
