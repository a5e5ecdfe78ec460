"""The report as a PDF: the same bytes for the same document, its own font, text that can be selected (G9)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import as_file, files

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # publishes no types
from fpdf import FPDF, FontFace
from fpdf.enums import XPos, YPos

from glasslog.audit.reporting import ReportDocument
from glasslog.audit.reporting.document import Notice
from glasslog_node.reporting.drawing import describe_lineage, lay_out
from glasslog_node.reporting.legible import show, show_lines
from glasslog_node.reporting.words import WORDS, describe_result, order_rules

_FAMILY = "DejaVu"
_GOOD, _BAD, _OPEN, _INK, _SOFT = (11, 93, 52), (155, 28, 28), (107, 74, 0), (20, 24, 28), (77, 87, 97)
_FILLS = {"model": (230, 239, 250), "training run": (238, 243, 228), "data set": (251, 241, 221)}
_MILLIMETRES = 25.4 / 96
_SHOWN = 20  # instances of one rule; the JSON has up to a hundred


class _Print(FPDF):
    """A4 pages with what they are of at their foot. Letters that the font lacks are shown as code points."""

    def __init__(self, foot: str) -> None:
        super().__init__(format="A4")
        self._foot = foot
        folder = files("glasslog_node.reporting") / "fonts"
        for style, name in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            with as_file(folder / name) as path:
                self.add_font(_FAMILY, style, path)
                if not style:
                    with TTFont(path) as font:
                        self._has: frozenset[int] = frozenset(font.getBestCmap() or {})
        self.set_margins(18, 18, 18)
        self.set_auto_page_break(auto=True, margin=20)

    def footer(self) -> None:
        """Put the report's digest and the page's number at the foot."""
        self.set_y(-14)
        self.ink(7.5, _SOFT)
        self.cell(0, 5, f"{self._foot} · page {self.page_no()}", align="C")

    def fit(self, text: str) -> str:
        """Return text with code points for letters that the font lacks."""
        return "".join([c if ord(c) in self._has or c == "\n" else f"⟨U+{ord(c):04X}⟩" for c in text])

    def ink(self, size: float, color: tuple[int, int, int] = _INK, style: str = "") -> None:
        """Choose size in points, colour and weight."""
        self.set_font(_FAMILY, style, size)
        self.set_text_color(*color)

    def say(self, text: str, size: float = 9.5, color: tuple[int, int, int] = _INK, style: str = "") -> None:
        """Put a paragraph."""
        self.ink(size, color, style)
        self.multi_cell(0, size * 0.52, self.fit(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(1.6)

    def head(self, text: str, level: int = 1) -> None:
        """Begin a section, also in the reader's outline."""
        if self.get_y() > self.h - 45:
            self.add_page()
        self.ln(3 if level == 1 else 1)
        self.start_section(self.fit(text), level - 1)
        self.say(text, 13 if level == 1 else 10.5, style="B")

    def points(self, texts: Iterable[str]) -> None:
        """Put a list."""
        for text in texts:
            self.say(f"•  {text}", 9)

    def rows(self, heads: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
        """Put a table; its head is repeated on every page."""
        self.ink(8)
        heading = FontFace(emphasis="BOLD", fill_color=(243, 245, 247))
        with self.table(
            col_widths=tuple(widths), text_align="LEFT", v_align="TOP", line_height=4.2, padding=1,
            headings_style=heading, first_row_as_headings=bool(heads), wrapmode="CHAR" if not heads else "WORD",
        ) as table:  # fmt: skip
            for texts in [heads, *rows] if heads else rows:
                row = table.row()
                for text in texts:
                    row.cell(self.fit(text))
        self.ln(2.5)


def render_pdf(document: ReportDocument, signature: bytes | None = None) -> bytes:
    """Return the PDF; ``signature`` is the examiner's signature file. Its date is the examiner's."""
    digest = document.digest.hex()
    out = _Print(f"glasslog audit report {digest[:16]}…")
    out.set_lang("en")
    out.set_title(out.fit(f"Audit report: {show(document.asked.question, 80)}"))
    out.set_creation_date(_date(document.examiner.finished))
    out.set_producer("glasslog")
    out.add_page()
    _first_page(out, document)
    out.add_page()
    _stated(out, document)
    _log(out, document)
    _rules(out, document)
    _lineage(out, document)
    _record(out, document)
    _keys(out, document)
    _not_checked(out, document)
    _reply(out, document)
    _again(out, document, digest, signature)
    date = _date(document.examiner.finished)
    out.embed_file(
        bytes=document.to_json(), basename="report.json", desc="The report as data", mime_type="application/json",
        creation_date=date, modification_date=date,
    )  # fmt: skip
    return bytes(out.output())


def _date(finished: str) -> datetime:
    try:
        return datetime.strptime(finished, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime(1980, 1, 1, tzinfo=UTC)  # a bundle may say anything


def _first_page(out: _Print, document: ReportDocument) -> None:
    names = ", ".join(show(name, 200) for name in document.examiner.names) or "an examiner who is not named"
    out.say("Audit report", 20, style="B")
    out.say(f"By {names}, finished {show(document.examiner.finished)} by the examiner's own clock.", 9, _SOFT)
    out.say(WORDS["about"], 9)
    out.head("What was asked")
    out.say(show(document.asked.question, 2000), 11.5)
    out.say(f"Looked at: {show(document.asked.scope, 2000)}.", 9)
    out.head("What came out")
    out.say(WORDS["never_merged"], 9)
    verdicts = document.verdicts
    pairs = (
        ("ledger", verdicts.ledger),
        ("signer", verdicts.signer),
        ("claims", verdicts.claims),
        ("world", verdicts.world),
    )
    for key, word in pairs:
        color = _GOOD if word in WORDS["good"].split() else _BAD if word in ("broken", "inconsistent") else _OPEN
        out.ink(10, style="B")
        out.cell(38, 5.2, WORDS[key])
        out.ink(10, color, "B")
        out.cell(36, 5.2, "cannot be said" if word == "unable" else word)
        out.ink(8, _SOFT)
        out.multi_cell(0, 5.2, WORDS[f"ask_{key}"], new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    out.ln(2)
    for sentence in document.summary.outcome:
        out.say(show(sentence, 1200), 9)
    out.head("What this does not show")
    out.points(document.summary.does_not_show)


def _stated(out: _Print, document: ReportDocument) -> None:
    out.head("1 What can be said to have been stated")
    out.say(show(document.standing.general, 4000))
    if document.asked.model is None:
        return
    out.say(f"About the model that was asked about, known by its content root {document.asked.model}:")
    nothing = "nothing can be said: the record does not bear it"
    out.points(show(one.sentence or f"Log index {one.index}: {nothing}", 4000) for one in document.standing.stated)
    more = document.standing.stated_count - len(document.standing.stated)
    if more or not document.standing.stated:
        out.say(f"And {more} more." if more else "There is no statement about it in the log.")


def _log(out: _Print, document: ReportDocument) -> None:
    log, policy = document.log, document.policy
    out.head("2 Log and policy")
    held = f"{log.heights} heights, {log.blocks} signed blocks, {log.entries} entries, {log.sealed} of them sealed"
    facts = [
        ("Origin", show(log.origin or "unknown")), ("Network", show(log.network or "unknown")),
        ("Genesis hash", log.genesis or "none"), ("Size", str(log.size)), ("Root hash", log.root), ("In it", held),
        ("Policy, SHA-256", policy.digest), ("Obtained, says the examiner", show(policy.source)),
        ("It asks for", f"{policy.quorum} of {policy.validators} validators"),
        ("It confirms this log", "yes" if policy.confirms else "no"),
    ]  # fmt: skip
    out.rows((), facts, (30, 70))
    out.say(f"Who finalized it, at size {log.finalized_size}", 9, style="B")
    finalizers = [(show(one.name, 80), show(one.jurisdiction, 20), one.time) for one in log.finalized_by]
    out.rows(("Validator", "Jurisdiction", "When, by its own clock"), finalizers or [("nobody", "", "")], (45, 20, 35))
    out.say("Whose clock", 9, style="B")
    out.points(f"{clock.time}: {clock.by}" for clock in document.clocks)


def _rules(out: _Print, document: ReportDocument) -> None:
    out.head("3 Statements against one another")
    out.say(f"Rule set {document.rule_set}. Only critical and major rules weigh for the verdict. Numbers in parentheses"
            " are log indices, at which anybody can look.", 9)  # fmt: skip
    rules = order_rules(document.custody_rules)
    for rule in rules:
        if rule.result not in ("fail", "unable"):
            continue
        color = _BAD if rule.result == "fail" else _OPEN
        out.say(f"{describe_result(rule.result)}: {rule.rule} ({rule.severity})", 10, color, "B")
        out.say(f"What must hold: {rule.must_hold}. Source: {rule.cites}.", 8.5, _SOFT)
        for one in rule.instances[:_SHOWN]:
            places = f" ({', '.join(map(str, one.indices))})" if one.indices else ""
            out.say(f"•  {describe_result(one.result)}: {show(one.fact)}{places}", 9)
        if rule.result == "fail":
            out.say(f"This shows: {rule.shows} It does not show: {rule.does_not_show}", 9)
    table = [
        (rule.rule, rule.severity, describe_result(rule.result), rule.must_hold, rule.shows, rule.does_not_show)
        for rule in rules
    ]
    out.rows(
        ("Rule", "Severity", "Result", "What must hold", "A failure shows", "and does not show"),
        table,
        (19, 11, 12, 20, 20, 18),
    )


def _lineage(out: _Print, document: ReportDocument) -> None:
    out.head("4 Lineage")
    lineage = document.lineage
    if lineage is None:
        out.say("No model was asked about.")
        return
    out.say("What went into the model, as far as authors stated it. An arrow goes from what went in to what came of it;"
            " the number is the log index of the statement that says so.", 9)  # fmt: skip
    _draw(out, document)
    parts = [
        (one.kind, show(one.name, 200) or "no statement", show(one.author, 80) or "nobody", one.digest)
        for one in lineage.parts
    ]
    out.rows(("Kind", "Name", "Stated by", "Digest"), parts, (14, 24, 22, 40))
    out.points(f"Missing: {show(one.fact)}" for one in lineage.missing)


def _draw(out: _Print, document: ReportDocument) -> None:
    assert document.lineage is not None
    layout = lay_out(document.lineage)
    scale = min(_MILLIMETRES, out.epw / layout.width, (out.h - 60) / layout.height)
    if out.get_y() + layout.height * scale > out.h - 22:
        out.add_page()
    left, top = out.l_margin + (out.epw - layout.width * scale) / 2, out.get_y()
    out.set_draw_color(*_SOFT)
    for arrow in layout.arrows:
        points = [
            (left + x * scale, top + y * scale)
            for x, y in ((arrow.x1, arrow.y1), (arrow.cx, arrow.cy), (arrow.x2, arrow.y2))
        ]
        out.bezier(points)
        (cx, cy), (x2, y2) = points[1:]
        _tip(out, cx, cy, x2, y2)
    for box in layout.boxes:
        x, y = left + box.x * scale, top + box.y * scale
        out.set_fill_color(*_FILLS.get(box.kind, (255, 255, 255)))
        out.rect(x, y, layout.box_width * scale, layout.box_height * scale, style="DF")
        for row, line in enumerate(box.lines):
            out.ink(32 * scale, _INK if row == 1 else _SOFT, "B" if row == 1 else "")
            out.set_xy(x, y + (4 + 16 * row) * scale)
            out.cell(layout.box_width * scale, 16 * scale, out.fit(line), align="C")
    for arrow in layout.arrows:
        out.ink(29 * scale)
        text = out.fit(arrow.label)
        width = out.get_string_width(text) + 1
        out.set_fill_color(255, 255, 255)
        out.set_xy(left + arrow.tx * scale - width / 2, top + (arrow.ty - 10) * scale)
        out.cell(width, 13 * scale, text, align="C", fill=True)
    out.set_xy(out.l_margin, top + layout.height * scale + 3)
    out.say(f"In words: {show(describe_lineage(document.lineage), 4000)}", 8, _SOFT)


def _tip(out: _Print, x1: float, y1: float, x2: float, y2: float) -> None:
    length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 0.01)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    out.set_fill_color(*_SOFT)
    out.polygon([(x2, y2), (x2 - 2 * dx - dy, y2 - 2 * dy + dx), (x2 - 2 * dx + dy, y2 - 2 * dy - dx)], style="F")


def _record(out: _Print, document: ReportDocument) -> None:
    out.head("5 The record")
    found = [(rule.rule, one) for rule in document.ledger_rules for one in rule.findings[:_SHOWN]]
    if found:
        out.say(f"{document.findings_count} faults; the first ones:")
        out.points(f"{rule}, {show(one.where)}: {show(one.fact)}" for rule, one in found)
    rows = [
        (
            rule.rule,
            "not checked" if rule.result == "unable" else describe_result(rule.result),
            rule.must_hold,
            rule.cites,
        )
        for rule in document.ledger_rules
    ]
    out.rows(("Rule", "Result", "What must hold", "Source"), rows, (14, 14, 58, 14))
    out.points(f"Noted: {show(one)}" for one in document.notices)


def _describe(notice: Notice) -> str:
    return f"log index {notice.index}: {show(notice.by, 80)} says {notice.cause} since {notice.since}"


def _keys(out: _Print, document: ReportDocument) -> None:
    out.head("6 Keys")
    out.points(document.key_validity)
    rows = [
        (
            f"{show(key.owner, 80)} ({show(key.jurisdiction, 20)})", key.use, key.fingerprint, key.known_from,
            "; ".join(_describe(one) for one in key.notices) or "nothing",
        )
        for key in document.keys
    ]  # fmt: skip
    out.rows(("Whose", "What it does", "SHA-256", "Known from", "Against it in the log"), rows, (21, 15, 32, 14, 18))


def _not_checked(out: _Print, document: ReportDocument) -> None:
    out.head("7 Not checked, and sealed")
    out.rows(
        ("What was not checked", "Why"), [(show(one.what), show(one.why)) for one in document.not_checked], (50, 50)
    )
    seals = [
        (show(one.author, 80), show(one.jurisdiction, 20), str(one.unopened), str(one.first)) for one in document.seals
    ]
    out.say("Sealed entries that nobody opened", 9, style="B")
    out.rows(
        ("Author", "Jurisdiction", "How many", "First at log index"), seals or [("none", "", "", "")], (40, 20, 15, 25)
    )
    out.say("A sealed entry is no fault: its author keeps its content to itself, and cannot change it.", 9)


def _reply(out: _Print, document: ReportDocument) -> None:
    out.head("8 The other side's reply")
    if document.reply is None:
        out.say("None is enclosed.")
        return
    out.say(
        f"The words below are the other side's own, whole and unchecked. SHA-256 of the file: {document.reply.digest}",
        9,
    )
    for line in show_lines(document.reply.text):
        out.say(f"»  {line}", 9)
    out.say("End of the other side's words.", 9, _SOFT)


def _again(out: _Print, document: ReportDocument, digest: str, signature: bytes | None) -> None:
    out.head("9 Checking this report")
    out.say("All of this is made from one file of data, enclosed in this PDF as report.json. Whoever has the report's"
            " bundle makes that file again, the same to the byte: glasslog report --replay BUNDLE --format json",
            9)  # fmt: skip
    software = document.software
    rows = [
        ("SHA-256 of the JSON", digest), ("Software", show(f"{software.name} {software.version}", 80)),
        ("SHA-256 over its files", show(software.digest, 80)), ("Rule set", document.rule_set),
    ]  # fmt: skip
    rows += [
        (f"Examiner's key, {show(key.algorithm, 20)}", show(key.fingerprint, 80)) for key in document.examiner.keys
    ]
    signatures: list[dict[str, str]] = [] if signature is None else json.loads(signature)["signatures"]
    for one in signatures:
        rows.append((f"Signature, {one['algorithm']}, its beginning", one["signature"][:64] + "…"))
    out.rows((), rows, (30, 70))
    if not document.examiner.keys:
        out.say("Not signed.")
