"""Reports as pages and print: self-contained, escaped, legible, the same every time (G9)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from claims_ledger import Said, Step, Story, names
from glasslog.audit.reporting import ReportDocument
from glasslog.predicates.values import TENSORS
from glasslog_node.reporting.drawing import DRAWN_MAX, draw_lineage, lay_out
from glasslog_node.reporting.legible import SHOWN_MAX, show, show_lines
from reported import HOSTILE, report_story

fpdf = pytest.importorskip("fpdf", reason="PDFs of reports need fpdf2, of the extra `report`")
pytest.importorskip("jinja2", reason="pages of reports need jinja2, of the extra `report`")
pdfium = pytest.importorskip("pypdfium2", reason="PDFs are read by pypdfium2")

from glasslog_node.reporting.page import render_page  # noqa: E402 - needs what was asked for above
from glasslog_node.reporting.print import render_pdf  # noqa: E402 - needs what was asked for above

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Elements, attributes and text; refuses what is not closed in order."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def hostile() -> ReportDocument:
    """Everything that others can write is hostile."""
    name = (HOSTILE * 2)[:150]
    assert "\u202e" in name
    story = Story()
    for step in ("tuned", "tune-run", "corpus"):
        story.steps[step] = replace(story.steps[step], make=_renamed(story.steps[step], name))
    texts = {"question": HOSTILE, "scope": HOSTILE, "policy_source": HOSTILE, "reply": HOSTILE.encode()}
    return report_story(story, examiners=(HOSTILE, "محمد"), **texts)


def _renamed(step: Step, name: str) -> Callable[[Story], Said]:
    def say(story: Story) -> Said:
        said = step.make(story)
        assert isinstance(said, tuple)
        return replace(said[0], name=name), said[1]  # type: ignore[call-arg]  # these have a name

    return say


def read_pdf(data: bytes) -> str:
    file = pdfium.PdfDocument(data)
    return "\n".join(page.get_textpage().get_text_bounded() for page in file)


@pytest.fixture(scope="module")
def plain() -> ReportDocument:
    return report_story(Story().drop("opening").change("summary", compute="1500"))


@pytest.mark.parametrize(
    "make", [hostile, lambda: report_story(Story(), model=None, reply=None)], ids=["hostile", "short"]
)
def test_page_is_whole_and_fetches_nothing(make: object) -> None:
    page = Page(render_page(make()))  # type: ignore[operator]  # a document's maker
    assert page.open == []
    assert not {"script", "iframe", "object", "embed", "form", "img", "link", "base"} & {
        tag for tag, _ in page.elements
    }
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")], tag
        target = attributes.get("href")
        assert target is None or target.startswith(("#", "data:application/json;base64,"))
        assert tag != "a" or target is not None


def test_policy_of_the_page_allows_its_own_style_alone(plain: ReportDocument) -> None:
    data = render_page(plain).decode()
    style = re.search("<style>(.*?)</style>", data, re.DOTALL)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', data)
    assert style is not None
    assert policy is not None
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert policy[1].startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_page_can_be_walked_without_eyes(plain: ReportDocument) -> None:
    page = Page(render_page(plain))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(head.get("scope") in ("row", "col") for head in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    assert page.all("svg")[0]["role"] == "img"
    anchors = {str(link["href"])[1:] for link in page.all("a") if str(link["href"]).startswith("#")}
    assert anchors <= {attributes.get("id") for _, attributes in page.elements}


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two colours."""

    def luminance(color: str) -> float:
        whole = color.lstrip("#") if len(color) == 7 else "".join(2 * c for c in color.lstrip("#"))
        parts = [int(whole[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast_in_light_dark_and_print(plain: ReportDocument) -> None:
    style = render_page(plain).decode()
    themes = [
        dict(re.findall(r"--(\w+):\s*(#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 3
    for theme in themes:
        for ink in ("ink", "soft", "good", "bad", "open", "link"):
            for paper in ("paper", "tint"):
                assert contrast(theme[ink], theme[paper]) >= 4.5, (ink, paper)
        for fill in ("model", "run", "data"):
            assert contrast(theme["soft"], theme[fill]) >= 4.5, fill


def test_page_and_print_say_what_the_document_says(plain: ReportDocument) -> None:
    page = " ".join(Page(render_page(plain)).text.split())
    printed = re.sub(r"[\s\ufffe\u0002]", "", read_pdf(render_pdf(plain)))
    sentences = [*plain.summary.outcome, *plain.summary.does_not_show, plain.standing.general]
    sentences += [one.sentence or "" for one in plain.standing.stated]
    sentences += [rule.does_not_show for rule in plain.custody_rules]
    sentences += [plain.log.root, plain.policy.digest, plain.software.digest, plain.digest.hex()]
    sentences += [one.why for one in plain.not_checked] + [key.fingerprint for key in plain.keys]
    for sentence in sentences:
        assert sentence in page
        if len(sentence) > 40:  # a table's short cells break where they like
            assert re.sub(r"[\s-]", "", sentence) in printed.replace("-", ""), sentence


def test_json_is_enclosed_in_page_and_print(plain: ReportDocument) -> None:
    link = next(one for one in Page(render_page(plain)).all("a") if "download" in one)
    assert b64decode(str(link["href"]).partition("base64,")[2]) == plain.to_json()
    file = pdfium.PdfDocument(render_pdf(plain))
    attachment = file.get_attachment(0)
    assert (attachment.get_name(), bytes(attachment.get_data())) == ("report.json", plain.to_json())


def test_faces_are_the_same_bytes_every_time(plain: ReportDocument) -> None:
    assert render_page(plain) == render_page(plain)
    assert render_pdf(plain) == render_pdf(plain)


def test_hostile_text_is_harmless_and_legible_on_the_page() -> None:
    document = hostile()
    data = render_page(document)
    page = Page(data)
    body = data.decode().partition("</style>")[2]
    assert "<script>alert" not in body
    assert "<script>alert(1)</script>⟨U+202E⟩evil⟨U+0000⟩⟨U+001B⟩[31m⟨U+000A⟩⟨U+000D⟩⟨U+2028⟩" in page.text
    assert not {c for c in body if not c.isprintable()} - {"\n"}
    assert "漢字 עברית" in page.text
    assert "more characters in the JSON" in page.text
    assert "x" * 2_001 not in page.text.partition("The words below")[0]
    assert "x" * 10_000 in page.text.partition("The words below")[2]
    assert "\u0301" * 5 not in page.text


def test_hostile_text_is_harmless_and_legible_in_print() -> None:
    text = re.sub(r"\s", "", read_pdf(render_pdf(hostile())))
    for legible in ("⟨U+202E⟩evil⟨U+0000⟩", "⟨U+6F22⟩⟨U+5B57⟩", "⟨U+0645⟩", "morecharactersintheJSON"):
        assert legible in text
    assert not {c for c in text if not c.isprintable()} - {"\ufffe", "\x02"}


def test_drawing_is_sound_xml_whatever_is_named() -> None:
    document = hostile()
    assert document.lineage is not None
    drawing = ET.fromstring(draw_lineage(document.lineage))
    assert {element.tag.partition("}")[2] for element in drawing.iter()} == {
        "svg", "title", "desc", "defs", "marker", "path", "rect", "text",
    }  # fmt: skip


def test_drawing_ends_where_statements_go_round_in_a_ring() -> None:
    story = Story().change("base", base_model=(names(TENSORS, "tuned"),), base_model_relation="merge")
    lineage = report_story(story).lineage
    assert lineage is not None
    layout = lay_out(lineage)
    assert len({(box.x, box.y) for box in layout.boxes}) == len(layout.boxes) == 5
    assert len(layout.arrows) == 7


def test_drawing_is_bounded_and_says_so() -> None:
    story = Story().change("tuned", base_model=tuple(names(TENSORS, f"part-{number}") for number in range(60)))
    document = report_story(story)
    assert document.lineage is not None
    layout = lay_out(document.lineage)
    assert (len(layout.boxes), layout.left_out) == (DRAWN_MAX, document.lineage.parts_count - DRAWN_MAX)
    assert f"Drawn are the nearest {DRAWN_MAX} of" in Page(render_page(document)).text


def test_text_is_shown_and_cut() -> None:
    assert show("a b ü 漢") == "a b ü 漢"
    assert show("a\nb\t\u200f\u2066") == "a⟨U+000A⟩b⟨U+0009⟩⟨U+200F⟩⟨U+2066⟩"
    long = show("y" * 10_000)
    assert long.startswith("y" * SHOWN_MAX + " … (9400 more characters")
    assert sha256(b"y" * 10_000).hexdigest()[:16] in long
    assert show_lines("a\r\nb\n\nc\rd") == ["a", "b", "", "c⟨U+000D⟩d"]
