"""Sealed content: fields, openings, envelopes, escrow files, periods and bars (specs/secrecy.md, X2 to X12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_ledger import LAB, World, make_sealed_entry, make_statement, make_world
from glasslog import codec
from glasslog.bundle import Bundle, make_bundle, verify_bundle
from glasslog.bundle.bars import BarState, Logged, announce_bar, list_bars, open_bar
from glasslog.bundle.disclosure import Disclosure, disclosure_statement
from glasslog.bundle.envelope import Envelope, Reader, ReaderKey, make_envelope
from glasslog.bundle.escrow import Share, check_secret, check_shares, commit_secret, digest_share
from glasslog.bundle.fields import FieldContent, join_fields, list_fields, padded, read_openings, seal_statement
from glasslog.bundle.opening import decode_openings, encode_openings, open_bundle, select_opening
from glasslog.bundle.period import commit_member, open_member, seal_period
from glasslog.bundle.sealed import decode_item, encode_item, seal_item
from glasslog.errors import ProtocolError
from glasslog.statement import STATEMENT_TYPE, Statement, decode_statement, encode_statement

SECRET = b"\x21" * 32

scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~01", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def statement_of(predicate: dict[str, object]) -> Statement:
    subject: codec.Value = [{"name": "m", "digest": {"sha256": b"\x01" * 32}}]
    value: dict[str, object] = {
        "_type": STATEMENT_TYPE, "subject": subject, "predicateType": "urn:x:y", "predicate": predicate,
    }  # fmt: skip
    return decode_statement(codec.encode(value))  # type: ignore[arg-type]  # the strategy makes values of the model


predicates = st.dictionaries(st.text("abc/~0", max_size=4), values, max_size=5)


def code_of(work: object, *arguments: object) -> str:
    with pytest.raises(ProtocolError) as caught:
        work(*arguments)  # type: ignore[operator]  # a function under test
    assert caught.value.fact
    return caught.value.code


def code_or_none(work: Callable[[], object]) -> str | None:
    try:
        return None if work() else ""
    except ProtocolError as error:
        return error.code


def sample() -> Statement:
    return statement_of({"loss": "0.25", "secret": {"tokens": 10**12, "notes": ["a", "b"], "empty": {}}})


# --- items -----------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_item_is_read_as_written(salt: bytes, root: bytes) -> None:
    item = encode_item(salt, root)
    assert (len(item), decode_item(item)) == (69, (salt, root))
    assert codec.decode(item, size_max=100) == [salt, root]


@given(st.binary(max_size=80))
def test_other_bytes_are_no_item(data: bytes) -> None:
    assert code_or_none(lambda: encode_item(*decode_item(data)) == data) in (None, "SEAL-01")


@pytest.mark.parametrize("item", [b"", b"\x82", codec.encode([b"x" * 32, b"y" * 31, 0]), b"\x82\x58\x20" + bytes(66)])
def test_broken_item_is_refused(item: bytes) -> None:
    assert code_of(decode_item, item) == "SEAL-01"


# --- fields ------------------------------------------------------------------------------------------


def try_fields(statement: Statement) -> dict[str, codec.Value] | None:
    code = code_or_none(lambda: list_fields(statement))
    assert code in (None, "SEAL-02")
    return None if code else list_fields(statement)


@given(predicates)
def test_fields_make_the_statement_again(predicate: dict[str, object]) -> None:
    statement = statement_of(predicate)
    fields = try_fields(statement)
    if fields is not None:
        assert encode_statement(join_fields(fields)) == encode_statement(statement)


def test_fields_are_named_by_json_pointer() -> None:
    fields = list_fields(statement_of({"a/b": {"~": 1}, "c": [], "d": [True]}))
    assert fields["/predicate/a~1b/~0"] == 1
    assert (fields["/predicate/c"], fields["/predicate/d/0"]) == ([], True)
    assert fields["/subject/0/digest/sha256"] == b"\x01" * 32


def test_map_numbered_like_a_list_is_sealed_whole() -> None:
    statement = statement_of({"x": {"0": 1, "1": 2}})
    assert code_of(list_fields, statement) == "SEAL-02"
    content = seal_statement(statement, SECRET, whole=True)
    assert read_openings([content.opening]).statement == statement  # type: ignore[union-attr]  # sealed whole


def test_too_many_fields_and_too_long_a_name_are_refused() -> None:
    assert code_of(list_fields, statement_of({"x": [1] * 5_000})) == "SEAL-03"
    assert code_of(list_fields, statement_of({"x" * 1_020: 1})) == "SEAL-03"


@pytest.mark.parametrize("fields", [{"x": 1}, {"": 1}, {"/a": 1, "/a/b": 2}, {"/a/b": 2, "/a": 1}])
def test_what_is_no_statement_s_fields_is_refused(fields: dict[str, codec.Value]) -> None:
    assert code_of(join_fields, fields) in ("SEAL-05", "STMT-08")


@settings(max_examples=40)
@given(predicates, st.binary(min_size=32, max_size=32), st.data())
def test_any_fields_open_under_one_root(predicate: dict[str, object], secret: bytes, data: st.DataObject) -> None:
    fields = try_fields(statement_of(predicate))
    if fields is None:
        return
    content = FieldContent(secret, fields)
    names = data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, unique=True))
    opened = read_openings(content.openings(names))
    assert (opened.salt, opened.content_root) == decode_item(content.item)
    assert opened.fields == {name: fields[name] for name in names}
    assert opened.count == padded(len(fields))
    everything = read_openings(content.openings())
    assert everything.statement is not None
    assert encode_statement(everything.statement) == encode_statement(join_fields(fields))


def test_one_opening_holds_nothing_of_another_field() -> None:
    """Values that a reader could guess do not verify: every leaf has a salt of its own."""
    content = seal_statement(sample(), SECRET)
    assert isinstance(content, FieldContent)
    (one,) = content.openings(["/predicate/loss"])
    given_out = codec.encode([one.salt, one.root, one.field, one.path])
    (other,) = content.openings(["/predicate/secret/tokens"])
    salt = codec.decode(other.field, size_max=1_000)
    assert isinstance(salt, list)
    assert isinstance(salt[0], bytes)
    assert salt[0] not in given_out
    assert SECRET not in given_out
    assert sha256(b"\x00" + codec.encode(["/predicate/secret/tokens", 10**12])).digest() not in given_out


def test_place_tells_nothing_of_a_field_s_rank() -> None:
    def places(secret: bytes) -> list[int]:
        content = FieldContent(secret, {f"/{n}": n for n in range(8)})
        return [opening.place for opening in content.openings([f"/{n}" for n in range(8)])]

    assert len({tuple(places(bytes([n]) * 32)) for n in range(20)}) > 15


def test_rendering_says_what_is_closed() -> None:
    content = seal_statement(sample(), SECRET)
    assert isinstance(content, FieldContent)
    assert read_openings(content.openings(["/predicate/loss"])).render() == (
        "16 fields, 1 opened; the rest may be padding\n/predicate/loss = 0.25"
    )
    assert read_openings(content.openings()).render().startswith("16 fields, all opened\n")


def test_padding_neither_hides_a_value_nor_counts_twice() -> None:
    hiding = FieldContent(SECRET, {"padding:9": "hidden"})
    assert read_openings(hiding.openings()).fields == {"padding:9": "hidden"}
    content = FieldContent(SECRET, {"/a": 1})
    (one,) = content.openings(["padding:0"])
    assert code_of(read_openings, [one, one]) == "SEAL-05"
    opened = read_openings(content.openings())
    assert (opened.complete, opened.statement) == (True, None)
    assert not read_openings(content.openings(["/a"])).complete


def test_openings_that_do_not_belong_together_are_refused() -> None:
    one, two = (seal_statement(sample(), bytes([n]) * 32) for n in (1, 2))
    assert isinstance(one, FieldContent)
    assert isinstance(two, FieldContent)
    first, other = one.openings(["/predicate/loss"])[0], two.openings(["/predicate/loss"])[0]
    whole = seal_statement(sample(), SECRET, whole=True).opening  # type: ignore[union-attr]  # sealed whole
    for openings in ([first, other], [first, first], [], [whole, whole], [first, whole]):
        assert code_of(read_openings, openings) == "SEAL-05"
    assert code_of(one.openings, ["/nothing"]) == "SEAL-25"
    with pytest.raises(ValueError, match="secret"):
        seal_statement(sample(), b"short")


@settings(max_examples=150)
@given(st.integers(0), st.integers(0, 7))
def test_changed_opening_never_shows_anything_else(at: int, bit: int) -> None:
    content = seal_statement(sample(), SECRET)
    assert isinstance(content, FieldContent)
    data = bytearray(encode_openings(content.openings(["/predicate/loss"])))
    data[at % len(data)] ^= 1 << bit
    code = code_or_none(lambda: decode_openings(bytes(data)))
    assert code in (None, "SEAL-04")
    if code:
        return
    opened = read_openings(decode_openings(bytes(data)))
    assert (opened.salt, opened.content_root) != decode_item(content.item)


@given(st.binary(max_size=100))
def test_other_bytes_are_no_openings(data: bytes) -> None:
    assert code_of(decode_openings, data) == "SEAL-04"


# --- against a ledger ----------------------------------------------------------------------------------


@cache
def ledger() -> tuple[World, int, FieldContent, FieldContent]:
    """Two heights; the last block holds two sealed entries and a public one. Returns the first one's leaf too."""
    made = make_world(heights=2)
    first, second = seal_statement(sample(), SECRET), seal_statement(sample(), b"\x22" * 32)
    assert isinstance(first, FieldContent)
    assert isinstance(second, FieldContent)
    genesis_hash = made.membership.genesis_hash
    number = made.state.tip(LAB, genesis_hash).next_entry
    items = [content.item for content in (first, second)]
    entries = [
        make_sealed_entry(made, n, seal_item(item, genesis_hash, LAB, n)) for n, item in enumerate(items, number)
    ]
    index = len(made.leaves)
    made.add_height([made.make_block(entries)])
    made.publish()
    return made, index, first, second


def test_auditor_with_an_opening_verifies_and_one_without_sees_a_commitment() -> None:
    world, index, content, other = ledger()
    bare = make_bundle(world.reader(), index)
    assert verify_bundle(bare, world.policy).statement is None
    (opening,) = content.openings(["/predicate/loss"])
    verified = verify_bundle(open_bundle(bare, opening), world.policy)
    assert verified.field == ("/predicate/loss", "0.25")
    for wrong in (other.openings(["/predicate/loss"])[0], replace(opening, salt=b"\0" * 32)):
        assert code_of(open_bundle, bare, wrong) == "BUNDLE-08"
    assert code_of(open_bundle, make_bundle(world.reader(), 7), opening) == "BUNDLE-08"
    assert code_of(open_bundle, b"junk", opening) == "BUNDLE-01"


def test_one_of_several_openings_is_chosen_by_name() -> None:
    content = ledger()[2]
    openings = content.openings(["/predicate/loss", "/predicate/secret/tokens"])
    assert select_opening(openings, "/predicate/loss") == openings[0]
    assert select_opening(openings[:1], None) == openings[0]
    assert code_of(select_opening, openings, None) == "SEAL-25"
    assert code_of(select_opening, openings, "/predicate/other") == "SEAL-25"


# --- envelopes and disclosures ---------------------------------------------------------------------------


KEY = ReaderKey("auditor.example", b"\x31" * 32, b"\x32" * 64)


def envelope(content: bytes = b"content", purpose: str = "p") -> bytes:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from nacl.public import PublicKey, SealedBox

    return make_envelope(
        KEY.public, purpose, content, encapsulate=MLKEM768PublicKey.from_public_bytes(KEY.public.mlkem).encapsulate(),
        seal=SealedBox(PublicKey(KEY.public.x25519)).encrypt, nonce=b"\x01" * 24,
    )  # fmt: skip


def test_envelope_opens_for_its_reader_and_purpose_only() -> None:
    data = envelope()
    assert KEY.open(data, "p") == b"content"
    assert code_of(KEY.open, data, "q") == "SEAL-06"
    for other in (
        ReaderKey(KEY.name, b"\x41" * 32, KEY.seed), ReaderKey(KEY.name, KEY.x25519, b"\x42" * 64),
        ReaderKey("other.example", KEY.x25519, KEY.seed),
    ):  # fmt: skip
        assert code_of(other.open, data, "p") == "SEAL-07"


def test_each_layer_alone_keeps_the_content() -> None:
    """Whoever has one of the two private keys, in the form an attacker would use it, still cannot read."""
    for half in (replace(KEY, x25519=b"\x41" * 32), replace(KEY, seed=b"\x42" * 64)):
        decoded = Envelope.decode(envelope())
        forged = Envelope("p", half.name, half.public.fingerprint, decoded.encapsulated, decoded.box).encode()
        assert code_of(half.open, forged, "p") == "SEAL-07"


def test_outer_key_needs_the_shared_secret_and_all_that_is_in_the_clear() -> None:
    made = Envelope.decode(envelope())
    others = [replace(made, purpose="q"), replace(made, name="x"), replace(made, fingerprint=b"\0" * 32)]
    keys = [made.outer_key(b"1" * 32), made.outer_key(b"2" * 32), *(other.outer_key(b"1" * 32) for other in others)]
    assert len(set(keys)) == len(keys)


@settings(max_examples=60)
@given(st.integers(0), st.integers(0, 7))
def test_changed_envelope_does_not_open(at: int, bit: int) -> None:
    data = bytearray(envelope())
    data[at % len(data)] ^= 1 << bit
    assert code_of(KEY.open, bytes(data), "p") in ("SEAL-06", "SEAL-07")


@given(st.binary(max_size=60))
def test_other_bytes_are_no_envelope(data: bytes) -> None:
    assert code_of(KEY.open, data, "p") == "SEAL-06"


def test_keys_are_read_as_written_and_nothing_else_is() -> None:
    line = KEY.public.format()
    assert Reader.parse(line) == KEY.public
    assert ReaderKey.parse(KEY.format()) == KEY
    assert b"1" * 8 not in repr(KEY).encode()
    word, name, mark, keys = line.split()
    broken = [
        "", line[:-9], line.replace("auditor", "editor"), f"{word} {name} {'0' * 64} {keys}", f"{word} {name} {mark} !",
        f"{word} NAME {mark} {keys}", KEY.format(),
    ]  # fmt: skip
    for text in broken:
        assert code_of(Reader.parse, text) == "SEAL-08"
    for text in (line, KEY.format()[:-9], "PRIVATE+glasslog-reader-key-v1 a YQ=="):
        assert code_of(ReaderKey.parse, text) == "SEAL-08"


def test_disclosure_is_verified_against_policy_and_entry() -> None:
    world, index, content, other = ledger()
    bundle = make_bundle(world.reader(), index)
    disclosure = Disclosure.decode(Disclosure(bundle, content.openings()).encode())
    verified, opened = disclosure.verify(world.policy)
    assert (verified.index, opened.statement) == (index, sample())
    assert code_of(Disclosure(bundle, other.openings()).verify, world.policy) == "BUNDLE-08"
    for broken in (b"", codec.encode(["x"]), codec.encode(["glasslog/disclosed/v1", b"", b"", 1])):
        assert code_of(Disclosure.decode, broken) == "SEAL-09"


def test_receipt_says_to_whom_and_of_what() -> None:
    file = envelope()
    leaf = Bundle.decode(make_bundle(ledger()[0].reader(), ledger()[1])).entry
    said = disclosure_statement(file, author=LAB, number=4, entry=leaf, opened=["/a"], at="2026-01-01T00:00:00Z")
    predicate = said["predicate"]
    assert isinstance(predicate, dict)
    assert predicate["to"] == {"name": KEY.name, "digest": {"sha256": KEY.public.fingerprint}}
    assert predicate["fields"] == ["/a"]
    assert seal_statement(said, SECRET).item
    with pytest.raises(ProtocolError, match="SEAL-06"):
        disclosure_statement(b"", author=LAB, number=4, entry=leaf, opened=[], at="")


# --- escrow ------------------------------------------------------------------------------------------------


def shares(label: str = "vault", secret: bytes = SECRET) -> list[Share]:
    raw = [bytes([n]) * 32 for n in (1, 2, 3)]
    digests = tuple(digest_share(label, n, share) for n, share in enumerate(raw, 1))
    return [Share(label, 2, n, share, commit_secret(label, secret), digests) for n, share in enumerate(raw, 1)]


def test_share_is_read_as_written_and_checked() -> None:
    one, two, three = shares()
    assert Share.decode(one.encode()) == one
    assert check_shares([three, one]) == three
    assert check_secret(one, SECRET) == SECRET
    assert code_of(check_secret, one, b"\0" * 32) == "SEAL-13"
    assert code_of(check_shares, [one]) == "SEAL-12"
    assert code_of(check_shares, []) == "SEAL-12"
    assert code_of(check_shares, [one, one]) == "SEAL-11"
    assert code_of(check_shares, [one, shares("other")[1]]) == "SEAL-11"
    for broken in (
        replace(two, share=b"\0" * 32), replace(two, index=3), replace(two, index=9), replace(two, needed=1),
        replace(two, needed=4),
    ):  # fmt: skip
        assert code_of(Share.decode, broken.encode()) == "SEAL-10"
    assert "share=" not in repr(one)


@given(st.binary(max_size=60))
def test_other_bytes_are_no_share(data: bytes) -> None:
    assert code_of(Share.decode, data) == "SEAL-10"


# --- periods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [0, 1, 9])
def test_period_proves_each_member_and_an_empty_one_looks_the_same(members: int) -> None:
    contents = [seal_statement(sample(), bytes([n + 1]) * 32) for n in range(members)]
    period = seal_period([content.item for content in contents], SECRET)
    assert len(period.item) == len(seal_period([], SECRET).item)
    opened = read_openings(period.openings([f"/{n}" for n in range(members)])) if members else None
    for n, content in enumerate(contents):
        assert isinstance(content, FieldContent)
        assert opened is not None
        assert open_member(opened, f"/{n}", content.openings()).statement == sample()
        assert code_of(open_member, opened, f"/{n + 1}", content.openings()) == "SEAL-15"


def test_period_holds_items_only_and_not_too_many() -> None:
    assert code_of(seal_period, [b"x"], SECRET) == "SEAL-01"
    assert code_of(commit_member, b"") == "SEAL-01"
    assert code_of(seal_period, [encode_item(SECRET, SECRET)] * 4_097, SECRET) == "SEAL-03"


# --- bars ------------------------------------------------------------------------------------------------------

GENESIS = b"\x77" * 32


def bar(threshold: str = "0.9") -> Statement:
    return {
        **statement_of({"metric": "accuracy", "threshold": threshold}),
        "predicateType": "urn:glasslog:predicate:evaluation-bar:v1",
    }


def sealed_bar(number: int, author: str = LAB, threshold: str = "0.9") -> tuple[bytes, Statement]:
    item = seal_statement(bar(threshold), SECRET, whole=True).item
    commitment = seal_item(item, GENESIS, author, number)
    opens = open_bar(bar(threshold), genesis_hash=GENESIS, author=author, number=number, salt=decode_item(item)[0])
    return commitment, opens


def states(log: list[Logged], today: str = "2027-02-01") -> list[tuple[int, BarState, int | None]]:
    return [(each.leaf, each.state, each.opened_at) for each in list_bars(log, genesis_hash=GENESIS, today=today)]


def test_unopened_bars_are_counted() -> None:
    announced = [announce_bar(sealed_bar(n)[0], name="bar", open_by="2027-01-31") for n in range(4)]
    log = [Logged(n, LAB, "2027-01-01", statement) for n, statement in enumerate(announced)]
    log.append(Logged(10, LAB, "2027-01-30", sealed_bar(0)[1]))
    log.append(Logged(11, LAB, "2027-01-31", sealed_bar(1)[1]))
    log.append(Logged(12, "other.example", "2027-01-30", sealed_bar(2)[1]))
    log.append(Logged(13, LAB, "2027-01-30", {**sealed_bar(3)[1], "subject": announced[0]["subject"]}))
    log.append(Logged(14, LAB, "2027-01-30", sample()))
    expected = [
        (0, BarState.OPENED, 10), (1, BarState.LATE, 11), (2, BarState.OVERDUE, None), (3, BarState.OVERDUE, None),
    ]  # fmt: skip
    assert states(log) == expected
    assert [state for _, state, _ in states(log, "2027-01-30")][2:] == [BarState.UNOPENED] * 2


def test_opening_before_the_announcement_does_not_count_and_a_day_cannot_be_moved() -> None:
    commitment, opens = sealed_bar(0)
    early, later = (announce_bar(commitment, name="bar", open_by=day) for day in ("2027-01-31", "2028-01-31"))
    log = [
        Logged(1, LAB, "2027-01-01", opens),
        Logged(2, LAB, "2027-01-01", early),
        Logged(3, LAB, "2027-01-01", later),
    ]
    assert states(log) == [(2, BarState.OVERDUE, None)]


def test_copied_announcement_is_the_copier_s_own_debt() -> None:
    commitment, opens = sealed_bar(0)
    said = announce_bar(commitment, name="bar", open_by="2027-01-31")
    log = [Logged(1, "other.example", "2027-01-01", said), Logged(2, LAB, "2027-01-01", said)]
    log += [Logged(3, LAB, "2027-01-02", opens), Logged(4, "other.example", "2027-01-02", opens)]
    assert states(log) == [(1, BarState.OVERDUE, None), (2, BarState.OPENED, 3)]


def test_broken_announcement_is_overdue_at_once() -> None:
    for sealed in ({}, {"openBy": "2099-01-01"}, "x", {"commitment": {"digest": {}}, "openBy": "2099-01-01"}):
        broken: Statement = {**bar(), "predicate": {"sealed": sealed}}  # type: ignore[dict-item]  # hostile on purpose
        assert states([Logged(5, LAB, "2027-01-01", broken)]) == [(5, BarState.OVERDUE, None)]


def test_announcement_needs_a_day_and_a_commitment() -> None:
    with pytest.raises(ProtocolError, match="SEAL-14"):
        announce_bar(b"\0" * 32, name="bar", open_by="tomorrow")
    with pytest.raises(ProtocolError, match="SEAL-14"):
        announce_bar(b"", name="bar", open_by="2027-01-01")
    with pytest.raises(ProtocolError, match="SEAL-14"):
        open_bar(decode_statement(make_statement(1)), genesis_hash=GENESIS, author=LAB, number=0, salt=SECRET)


@settings(max_examples=30)
@given(st.lists(values, max_size=3))
def test_hostile_evidence_opens_nothing(evidence: list[object]) -> None:
    commitment, _ = sealed_bar(0)
    said = Logged(0, LAB, "2027-01-01", announce_bar(commitment, name="bar", open_by="2027-01-31"))
    hostile: Statement = {**bar(), "predicate": {"evidence": evidence}}  # type: ignore[dict-item]  # hostile on purpose
    assert states([said, Logged(1, LAB, "2027-01-01", hostile)]) == [(0, BarState.OVERDUE, None)]
