"""The report as one HTML file: no script, nothing fetched, everything escaped (G9)."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from glasslog.audit.reporting import ReportDocument
from glasslog_node.reporting.drawing import DRAWN_MAX, draw_lineage
from glasslog_node.reporting.legible import show, show_lines
from glasslog_node.reporting.words import WORDS, describe_result, order_rules

_TEMPLATE, _STYLE = "report.html.j2", "report.css"


def render_page(document: ReportDocument, signature: bytes | None = None) -> bytes:
    """Return the page, UTF-8; ``signature`` is the examiner's signature file over the document's JSON."""
    environment = Environment(
        loader=FunctionLoader(_load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {"show": show, "lines": show_lines, "describe": describe_result}
    environment.filters.update(filters)
    style = _load(_STYLE)
    drawing = None if document.lineage is None else Markup(draw_lineage(document.lineage))  # noqa: S704 - escaped there
    text = environment.get_template(_TEMPLATE).render(
        document=document,
        digest=document.digest.hex(),
        style=Markup(style),  # noqa: S704 - our own file
        style_digest=b64encode(sha256(style.encode()).digest()).decode(),
        source=b64encode(document.to_json()).decode(),
        drawing=drawing,
        drawn_max=DRAWN_MAX,
        words=WORDS,
        rules=order_rules(document.custody_rules),
        signatures=[] if signature is None else json.loads(signature)["signatures"],
    )
    return text.encode()


def _load(name: str) -> str:
    return (files("glasslog_node.reporting") / name).read_text("utf-8")
