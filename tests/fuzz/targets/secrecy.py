"""What others hand to whoever opens sealed content: items, openings, envelopes, disclosures, shares, readers' keys."""

from __future__ import annotations

from functools import lru_cache

from fuzz.mutators import mutate_bytes, mutate_cbor
from fuzz.target import Target, accepted
from glasslog.bundle.bars import Logged, list_bars
from glasslog.bundle.disclosure import Disclosure
from glasslog.bundle.envelope import Envelope, Reader, ReaderKey
from glasslog.bundle.escrow import Share, commit_secret, digest_share
from glasslog.bundle.fields import FieldContent, read_openings, seal_statement
from glasslog.bundle.opening import decode_openings, encode_openings
from glasslog.bundle.sealed import decode_item, encode_item
from glasslog.errors import ProtocolError
from glasslog.predicates.base import Subject
from glasslog.predicates.evaluation_bar import EvaluationBar, SealedBar
from glasslog.predicates.values import SEALED, Commitment
from glasslog.statement import decode_statement, encode_statement

_KEY = ReaderKey("auditor.example", bytes(range(32)), bytes(range(64)))
_BAR = EvaluationBar(sealed=SealedBar(commitment=Commitment(digest={SEALED: bytes(32)}), open_by="2027-01-31"))
_STATEMENT = _BAR.statement(Subject("bar", {SEALED: bytes(32)}))


@lru_cache(1)
def _contents() -> tuple[FieldContent, bytes, bytes]:
    by_field, whole = (seal_statement(_STATEMENT, bytes(32), whole=whole) for whole in (False, True))
    assert isinstance(by_field, FieldContent)
    opened = by_field.openings()
    return by_field, encode_openings(opened), encode_openings([whole.opening])  # type: ignore[union-attr]  # sealed whole


def _envelope() -> bytes:
    return Envelope("disclosure", _KEY.name, _KEY.public.fingerprint, bytes(1088), bytes(80)).encode()


def _share() -> bytes:
    shares = [bytes([index]) * 32 for index in (1, 2, 3)]
    digests = tuple(digest_share("vault", index, share) for index, share in enumerate(shares, 1))
    return Share("vault", 2, 2, shares[1], commit_secret("vault", bytes(32)), digests).encode()


def run_item(data: bytes) -> None:
    salt, root = decode_item(data)
    with accepted():
        assert encode_item(salt, root) == data, "a second spelling"


def run_openings(data: bytes) -> None:
    openings = decode_openings(data)
    with accepted():
        assert encode_openings(openings) == data, "accepted, and encoded otherwise"
        opened = read_openings(openings)
        opened.render()
        content = _contents()[0]
        if opened.content_root == decode_item(content.item)[1]:
            assert all(content.fields.get(name, value) == value for name, value in opened.fields.items()), "forged"


def run_envelope(data: bytes) -> None:
    envelope = Envelope.decode(data)
    with accepted():
        assert envelope.encode() == data, "accepted, and encoded otherwise"
    try:
        _KEY.open(data, "disclosure")
    except ProtocolError:
        return
    raise AssertionError("it opens, and nobody sealed it")


def run_disclosure(data: bytes) -> None:
    disclosure = Disclosure.decode(data)
    with accepted():
        assert disclosure.encode() == data, "accepted, and encoded otherwise"


def run_share(data: bytes) -> None:
    share = Share.decode(data)
    with accepted():
        assert share.encode() == data, "accepted, and encoded otherwise"


def run_reader(data: bytes) -> None:
    reader = Reader.parse(data.decode("utf-8", "surrogateescape"))
    with accepted():
        assert Reader.parse(reader.format()) == reader, "written, and read otherwise"


def run_reader_key(data: bytes) -> None:
    key = ReaderKey.parse(data.decode("utf-8", "surrogateescape"))
    with accepted():
        assert ReaderKey.parse(key.format()) == key, "written, and read otherwise"
        assert Reader.parse(key.public.format()) == key.public


def run_bars(data: bytes) -> None:
    """A statement that any author may enter is counted with the bars, whatever it holds."""
    statement = decode_statement(data)
    with accepted():
        log = [Logged(leaf, "lab.example", "2027-01-01", one) for leaf, one in enumerate([_STATEMENT, statement])]
        bars = list_bars(log, genesis_hash=bytes(32), today="2027-02-01")
        assert bars[0].opened_at is None, "opened by what nobody sealed"


TARGETS = (
    Target("sealed-item", run_item, lambda: [_contents()[0].item], mutators=(mutate_cbor,), size_max=128),
    Target("openings", run_openings, lambda: list(_contents()[1:]), mutators=(mutate_cbor,), weight=0.5),
    Target("envelope", run_envelope, lambda: [_envelope()], mutators=(mutate_cbor,), weight=0.3),
    Target(
        "disclosure",
        run_disclosure,
        lambda: [Disclosure(b"bundle", _contents()[0].openings(["/_type"])).encode()],
        mutators=(mutate_cbor,),
        weight=0.5,
    ),
    Target("escrow-share", run_share, lambda: [_share()], mutators=(mutate_cbor,), size_max=1_024),
    Target("reader", run_reader, lambda: [_KEY.public.format().encode()], mutators=(mutate_bytes,)),
    Target("reader-key", run_reader_key, lambda: [_KEY.format().encode()], mutators=(mutate_bytes,), weight=0.3),
    Target("bars", run_bars, lambda: [encode_statement(_STATEMENT)], mutators=(mutate_cbor,)),
)
