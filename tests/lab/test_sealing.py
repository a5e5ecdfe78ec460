"""The vault, erasure, disclosure, escrow and the clock, on disk and from the command line (specs/secrecy.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from audit_ledger import LAB, World, make_sealed_entry, make_statement, make_world
from glasslog.audit import Verdict, audit
from glasslog.bundle import make_bundle, verify_bundle
from glasslog.bundle.envelope import ReaderKey
from glasslog.bundle.fields import read_openings
from glasslog.bundle.opening import check_openings, decode_openings, open_bundle
from glasslog.bundle.period import open_member
from glasslog.bundle.sealed import decode_item, seal_item
from glasslog.statement import Statement, decode_statement, to_json
from glasslog_lab.cli import sealing as cli
from glasslog_lab.errors import ArtifactError
from glasslog_lab.sealing import envelopes, private_files
from glasslog_lab.sealing.seal_clock import ClockState, Move, next_move, queue_item, tick
from glasslog_lab.sealing.show_public import show_public
from glasslog_lab.sealing.vault import Vault, name_item

AT = "2027-01-01T00:00:00Z"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault.create(tmp_path / "vault")


def said(number: int) -> Statement:
    return decode_statement(make_statement(number))


def refused(code: str, work: Callable[[], object]) -> None:
    with pytest.raises(ArtifactError) as caught:
        work()
    assert caught.value.code == code
    assert caught.value.next_step


# --- the vault ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
def test_what_was_kept_opens_after_a_restart(vault: Vault, whole: bool) -> None:
    name, item = vault.keep(said(1), whole=whole)
    kept = Vault.open(vault.path).read(name)
    assert (kept.content.item, kept.statement, name_item(item)) == (item, said(1), name)
    opened = read_openings(kept.openings(None))
    assert opened.statement == said(1)
    assert (opened.salt, opened.content_root) == decode_item(item)


def test_vault_shows_neither_content_nor_keys_to_others(vault: Vault) -> None:
    name, item = vault.keep(said(1))
    files = [path for path in vault.path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in vault.path.rglob("*") if path.is_dir())
    secret = vault.read(name).content.secret
    for path in files:
        data = path.read_bytes()
        assert not any(word in data for word in (b"in-toto", secret, *decode_item(item)))
    (vault.path / "vault.key").chmod(0o640)
    refused("SEAL-20", lambda: Vault.open(vault.path))


def test_same_statement_sealed_twice_is_two_unrelated_entries(vault: Vault) -> None:
    (one, first), (two, second) = vault.keep(said(1)), vault.keep(said(1))
    assert one != two
    assert not set(decode_item(first)) & set(decode_item(second))


def test_erased_entry_is_gone_for_good_also_from_a_backup(vault: Vault) -> None:
    name, _ = vault.keep(said(1))
    other, _ = vault.keep(said(2))
    backup = (vault.path / "entries" / name).read_bytes()
    vault.erase(name, at=AT)
    refused("SEAL-22", lambda: vault.read(name))
    private_files.write(vault.path / "entries" / name, backup)
    refused("SEAL-22", lambda: vault.read(name))
    refused("SEAL-22", lambda: vault.read_key(name))
    assert (list(vault.names()), vault.erased()) == ([other], {name: AT})
    assert vault.read(other).statement == said(2)
    vault.erase(name, at="later")
    assert vault.erased() == {name: AT}


@pytest.mark.parametrize("after", [1, 2])
def test_erasure_cut_short_is_finished_by_doing_it_again(vault: Vault, after: int) -> None:
    """Stopped after the tombstone, or after the key: unreadable either way, and the second time ends it."""
    name, _ = vault.keep(said(1))
    private_files.append(vault.path / "tombstones.log", f"{name} {AT}")
    if after == 2:
        private_files.destroy(vault.path / "keys" / name)
        refused("SEAL-22", lambda: vault.read(name))
    vault.erase(name, at="later")
    refused("SEAL-22", lambda: vault.read(name))
    assert not (vault.path / "entries" / name).exists()


def test_damage_is_named(vault: Vault, tmp_path: Path) -> None:
    name, _ = vault.keep(said(1))
    place = vault.path / "entries" / name
    whole = place.read_bytes()
    for broken in (whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b""):
        place.write_bytes(broken)
        refused("SEAL-23", lambda: vault.read(name))
    place.unlink()
    refused("SEAL-21", lambda: vault.read(name))
    refused("SEAL-21", lambda: vault.read("0" * 32))
    refused("SEAL-21", lambda: vault.read("../../etc/passwd"))
    refused("SEAL-21", lambda: vault.erase("0" * 32, at=AT))
    refused("SEAL-20", lambda: Vault.open(tmp_path / "none"))
    refused("SEAL-24", lambda: Vault.create(vault.path))
    (vault.path / "vault.key").write_bytes(b"short")
    refused("SEAL-23", lambda: Vault.open(vault.path))


def test_entry_of_another_vault_or_under_another_name_is_refused(vault: Vault, tmp_path: Path) -> None:
    (one, _), (two, _) = vault.keep(said(1)), vault.keep(said(2))
    for folder in ("keys", "entries"):
        (vault.path / folder / two).write_bytes((vault.path / folder / one).read_bytes())
    refused("SEAL-23", lambda: vault.read(two))
    other = Vault.create(tmp_path / "other")
    for folder in ("keys", "entries"):
        private_files.write(other.path / folder / one, (vault.path / folder / one).read_bytes())
    refused("SEAL-23", lambda: other.read(one))


def test_link_in_place_of_a_file_is_not_followed(vault: Vault, tmp_path: Path) -> None:
    name, _ = vault.keep(said(1))
    place = vault.path / "entries" / name
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    refused("SEAL-24", lambda: vault.read(name))


def test_full_disk_keeps_nothing_and_says_so(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    refused("SEAL-24", lambda: vault.keep(said(1)))
    monkeypatch.undo()
    assert list(vault.names()) == []
    assert [path for path in vault.path.rglob(".*") if path.is_file()] == []


def test_content_is_synced_before_the_item_is_given_out(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    real, synced = os.fsync, list[str]()

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().parent.name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    vault.keep(said(1))
    assert [name for name in synced if name in ("entries", "keys")] == ["entries", "keys"]


def test_statement_that_cannot_be_sealed_by_fields_says_how_else(vault: Vault) -> None:
    listed: Statement = {**said(1), "predicate": {"x": {"0": 1}}}
    refused("SEAL-02", lambda: vault.keep(listed))
    name, _ = vault.keep(listed, whole=True)
    refused("SEAL-25", lambda: vault.read(name).openings(["/predicate/x"]))


# --- erasure and the ledger -----------------------------------------------------------------------------


def sealed_ledger(vault: Vault, count: int = 3) -> tuple[World, list[str], list[int]]:
    """A published ledger with so many sealed entries among public ones; their IDs and leaf indexes."""
    world = make_world(heights=2, published=False)
    genesis_hash = world.membership.genesis_hash
    number = world.state.tip(LAB, genesis_hash).next_entry
    kept = [vault.keep(said(n)) for n in range(count)]
    entries = [
        make_sealed_entry(world, n, seal_item(item, genesis_hash, LAB, n)) for n, (_, item) in enumerate(kept, number)
    ]
    first = len(world.leaves)
    world.add_height([world.make_block(entries)])
    world.publish()
    return world, [name for name, _ in kept], list(range(first, first + count))


def test_after_erasure_every_proof_audit_and_bundle_still_verifies(vault: Vault) -> None:
    world, names, indexes = sealed_ledger(vault)
    before = [make_bundle(world.reader(), index) for index in indexes]
    disclosed = open_bundle(before[1], vault.read(names[1]).openings(["/predicateType"])[0])
    vault.erase(names[0], at=AT)
    assert [make_bundle(world.reader(), index) for index in indexes] == before
    for bundle in before:
        assert verify_bundle(bundle, world.policy).statement is None
    assert verify_bundle(disclosed, world.policy).field is not None
    for name, bundle in zip(names[1:], before[1:], strict=True):
        assert check_openings(bundle, vault.read(name).openings(None)).statement is not None
    assert audit(world.source(), world.policy).verdict is Verdict.INTACT


def test_vault_finds_the_entry_of_a_leaf(vault: Vault) -> None:
    world, names, indexes = sealed_ledger(vault, 2)
    number = world.state.tip(LAB, world.membership.genesis_hash).next_entry - 2
    for name, index, at in zip(names, indexes, range(number, number + 2), strict=True):
        found = vault.find(world.membership.genesis_hash, LAB, at, world.leaves[index][-32:])
        assert found is not None
        assert found.id == name
    assert vault.find(world.membership.genesis_hash, LAB, number, b"\0" * 32) is None


# --- disclosure and escrow --------------------------------------------------------------------------------


@cache
def reader(name: str) -> ReaderKey:
    return envelopes.new_reader_key(name)


def test_disclosure_reaches_its_reader_only(vault: Vault) -> None:
    world, names, indexes = sealed_ledger(vault)
    bundle = make_bundle(world.reader(), indexes[0])
    file = envelopes.disclose(bundle, vault.read(names[0]).openings(None), reader("auditor").public)
    _, opened = envelopes.open_disclosure(file, reader("auditor")).verify(world.policy)
    assert opened.statement == said(0)
    refused("SEAL-07", lambda: envelopes.open_disclosure(file, reader("other")))
    refused("BUNDLE-08", lambda: envelopes.disclose(bundle, vault.read(names[1]).openings(None), reader("a").public))
    refused("SEAL-08", lambda: envelopes.new_reader_key("Not a name"))


@settings(max_examples=15)
@given(st.integers(2, 5), st.integers(0, 3), st.randoms())
def test_any_k_shares_join_and_fewer_do_not(needed: int, more: int, order: object) -> None:
    pytest.importorskip("Crypto", reason="escrow needs pycryptodome, of the lab extra")
    keys = [reader(f"c{n}") for n in range(needed + more)]
    secret = bytes(range(32))
    sent = envelopes.split_secret(secret, "vault", needed, [key.public for key in keys])
    shares = [envelopes.open_share(data, key) for data, key in zip(sent, keys, strict=True)]
    order.shuffle(shares)  # type: ignore[attr-defined]  # the strategy gives a Random
    assert envelopes.join_secret(shares[:needed]) == ("vault", secret)
    assert envelopes.join_secret(shares) == ("vault", secret)
    refused("SEAL-12", lambda: envelopes.join_secret(shares[: needed - 1]))
    refused("SEAL-11", lambda: envelopes.join_secret([shares[0], shares[0], *shares[2:]]))
    again = envelopes.split_secret(secret, "vault", needed, [key.public for key in keys])
    refused("SEAL-11", lambda: envelopes.join_secret([*shares[1:], envelopes.open_share(again[0], keys[0])]))


def test_impossible_escrow_is_refused() -> None:
    public = [reader("c0").public, reader("c1").public]
    for needed, custodians in ((1, public), (3, public), (2, [public[0], public[0]])):
        with pytest.raises(ArtifactError, match="SEAL-26"):
            envelopes.split_secret(bytes(32), "vault", needed, custodians)
    refused("SEAL-10", lambda: envelopes.join_secret([b"junk"]))


# --- the clock ------------------------------------------------------------------------------------------------


class Node:
    """Takes bodies as a node does: the same key twice is one; fails as often as told."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.failures = 0
        self.answers_lost = 0

    def __call__(self, body: bytes, key: str) -> None:
        if self.failures:
            self.failures -= 1
            raise ArtifactError("CLIENT-01", "no answer", "try again")
        assert self.taken.setdefault(key, body) == body
        if self.answers_lost:
            self.answers_lost -= 1
            raise ArtifactError("CLIENT-01", "no answer", "try again")


def trial(vault: Vault, now: int, node: Node) -> Move | None:
    try:
        return tick(vault, now, node)
    except ArtifactError:
        return None


@pytest.mark.parametrize(
    ("now", "period", "waiting", "move"),
    [
        (7_200, 1, None, Move.SEAL),
        (7_200, 1, "x", Move.RESEND),
        (7_199, 1, None, Move.REST),
        (7_199, 1, "x", Move.REST),
        (0, 5, None, Move.REST),
        (0, -1, None, Move.SEAL),
    ],
)
def test_next_move(now: int, period: int, waiting: str | None, move: Move) -> None:
    assert next_move(now, 3_600, ClockState(period, waiting)) == (move, now // 3_600)


def test_each_period_has_one_entry_whatever_happened_in_it(vault: Vault) -> None:
    node = Node()
    for hour in range(4):
        for n in range(hour):
            queue_item(vault, vault.keep(said(n))[1])
        for minute in (0, 1, 59):
            tick(vault, hour * 3_600 + minute * 60, node)
        assert len(node.taken) == hour + 1
    assert {len(body) for body in node.taken.values()} == {69}


def test_downtime_is_followed_by_one_entry_with_all_that_waited(vault: Vault) -> None:
    node = Node()
    tick(vault, 0, node)
    kept = [vault.keep(said(n)) for n in range(9)]
    for _, item in kept:
        queue_item(vault, item)
    assert tick(vault, 10 * 3_600, node) is Move.SEAL
    assert tick(vault, 10 * 3_600 + 60, node) is Move.REST
    assert len(node.taken) == 2
    period = vault.read(list(node.taken)[-1].removeprefix("period-"))
    opened = read_openings(period.openings(None))
    items = sorted(item for _, item in kept)
    shown = {open_member(opened, f"/{place}", vault.read(name_item(item)).openings(None)).statement is not None
             for place, item in enumerate(period.members)}  # fmt: skip
    assert (sorted(period.members), shown) == (items, {True})


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["ok", "down", "lost"])), min_size=1, max_size=12))
def test_no_two_entries_in_one_period_and_none_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]
) -> None:
    vault, node, now = Vault.create(tmp_path_factory.mktemp("v") / "vault"), Node(), 0
    queued: set[bytes] = set()
    acknowledged: list[int] = []
    for forward, how in steps:
        now += forward * 1_800
        item = vault.keep(said(1))[1]
        queue_item(vault, item)
        queued.add(item)
        node.failures, node.answers_lost = int(how == "down"), int(how == "lost")
        seen = len(node.taken)
        trial(vault, now, node)
        acknowledged += [now // 3_600] * (len(node.taken) - seen)
    node.failures = node.answers_lost = 0
    for later in (1, 2):
        tick(vault, now + later * 3_600, node)
    assert len(set(acknowledged)) == len(acknowledged)
    members = [item for key in node.taken for item in vault.read(key.removeprefix("period-")).members]
    assert sorted(members) == sorted(queued)


def test_crash_between_sealing_and_emptying_the_queue_doubles_nothing(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, item = Node(), vault.keep(said(1))[1]
    queue_item(vault, item)

    def stop(_path: Path) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(private_files, "destroy", stop)
    with pytest.raises(KeyboardInterrupt):
        tick(vault, 0, node)
    monkeypatch.undo()
    assert tick(vault, 1, node) is Move.RESEND
    assert tick(vault, 3_600, node) is Move.SEAL
    members = [vault.read(key.removeprefix("period-")).members for key in node.taken]
    assert members == [(item,), ()]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"period": "1"}', '{"period": true}', '{"period": 1, "waiting": 2}'])
def test_damaged_clock_rests_rather_than_showing_two(vault: Vault, text: str) -> None:
    private_files.write(vault.path / "clock.json", text.encode())
    node = Node()
    refused("SEAL-28", lambda: tick(vault, 3_600, node))
    assert not node.taken


def test_stranger_in_the_queue_is_refused(vault: Vault) -> None:
    private_files.make_folder(vault.path / "queue")
    private_files.write(vault.path / "queue" / "x", b"junk")
    refused("SEAL-28", lambda: tick(vault, 0, Node()))


# --- what others will see ---------------------------------------------------------------------------------------


def test_show_public_prints_the_entry_s_very_bytes(vault: Vault) -> None:
    _, item = vault.keep(said(1))
    shown = show_public([item, make_statement(2)], LAB).splitlines()
    number = "05"
    commitment = seal_item(item, b"\0" * 32, LAB, 5).hex()
    leaf = make_sealed_entry(make_world(heights=1), 5, bytes.fromhex(commitment)).hex()
    assert shown[0].replace("<number>", number).replace("<commitment>", commitment) == leaf
    assert make_statement(2).hex() in shown[2]
    assert not any(part.hex() in shown[0] for part in decode_item(item))
    refused("CBOR-02", lambda: show_public([b"\xa4"], LAB))


# --- from the command line --------------------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    for name in ("new_vault", "list_vault", "seal", "opening", "disclose", "open_file", "erase", "reader_key",
                 "escrow_split", "escrow_open", "escrow_join", "seal_clock"):  # fmt: skip
        app.command(name)(getattr(cli, name))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, ArtifactError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_commands_from_statement_to_auditor(shell: Callable[..., str], tmp_path: Path) -> None:
    Path("s.json").write_text(to_json(said(1)))
    shell("new_vault", "v")
    assert "<commitment>" in shell("seal", "s.json", "--vault", "v", "--show-public", "--author", LAB)
    name = json.loads(shell("seal", "s.json", "--vault", "v", "-o", "i.sealed", "--json"))["id"]
    item = Path("i.sealed").read_bytes()
    world = make_world(heights=1, published=False)
    number = world.state.tip(LAB, world.membership.genesis_hash).next_entry
    entry = make_sealed_entry(world, number, seal_item(item, world.membership.genesis_hash, LAB, number))
    index = len(world.leaves)
    world.add_height([world.make_block([entry])])
    world.publish()
    Path("b").write_bytes(make_bundle(world.reader(), index))
    Path("policy").write_bytes(world.policy.format())
    assert "/predicateType" in shell("opening", name, "--vault", "v")
    shell("opening", name, "--vault", "v", "--field", "/predicateType", "-o", "o")
    assert len(decode_openings(Path("o").read_bytes())) == 1
    shell("reader_key", "auditor", "-o", "k")
    shell("disclose", name, "--vault", "v", "--bundle", "b", "--to", "k.pub", "-o", "d", "--receipt", "r.json")
    opened = json.loads(shell("open_file", "d", "--key", "k", "--policy", "policy", "--json"))
    assert opened["statement"] == json.loads(to_json(said(1)))
    assert "all opened" in shell("open_file", "d", "--key", "k", "--policy", "policy")
    shell("seal", "r.json", "--vault", "v", "--queue")
    assert shell("seal_clock", "--vault", "v", "--outbox", "out") == "seal the period's entry and send it\n"
    assert [path.stat().st_size for path in Path("out").iterdir()] == [69]
    refused("SEAL-29", lambda: shell("erase", name, "--vault", "v"))
    shell("erase", name, "--vault", "v", "--yes")
    assert f"{name} erased" in shell("list_vault", "v")
    refused("SEAL-22", lambda: shell("opening", name, "--vault", "v"))
    refused("SEAL-24", lambda: shell("seal", "none.json", "--vault", "v", "-o", "x"))
    refused("SEAL-29", lambda: shell("seal", "s.json", "--vault", "v"))


def test_escrow_from_the_command_line(shell: Callable[..., str]) -> None:
    pytest.importorskip("Crypto", reason="escrow needs pycryptodome, of the lab extra")
    shell("new_vault", "v")
    Path("s.json").write_text(to_json(said(1)))
    name = json.loads(shell("seal", "s.json", "--vault", "v", "-o", "i", "--json"))["id"]
    for custodian in ("c1", "c2", "c3"):
        shell("reader_key", custodian, "-o", custodian)
    shell("escrow_split", "--vault", "v", "--needed", "2", "--to", "c1.pub", "--to", "c2.pub", "--to", "c3.pub",
          "--folder", "shares")  # fmt: skip
    Path("v/vault.key").unlink()
    for custodian in ("c3", "c1"):
        shell("escrow_open", f"shares/{custodian}.share", "--key", custodian, "-o", f"{custodian}.open")
    refused("SEAL-12", lambda: shell("escrow_join", "c1.open", "--vault", "v"))
    shell("escrow_join", "c3.open", "c1.open", "--vault", "v")
    assert name in shell("list_vault", "v")
