"""Policies: C2SP's language in full, glasslog's one shape, and that one validator never counts twice."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasslog.checkpoint import Checkpoint, check_line
from glasslog.errors import DecodeError, ProofError, ProtocolError
from glasslog.identity import TYPE_COSIGNATURE_V1, TYPE_ED25519, Ed25519Key, VerifierKey
from glasslog.note import Note, verify_note
from glasslog.policy import NEXT_STEPS, Group, Policy, compute_quorum
from small_log import NETWORK, ORIGIN, make_checkpoint, make_policy, make_validator, make_validators, seed
from vector_files import find_vectors

CHECKPOINT = Checkpoint(ORIGIN, 5, bytes(range(32)))
NOTE = Note.parse(make_checkpoint(CHECKPOINT, make_validators(4)))
POLICY = make_policy(4)
FILE = POLICY.format()


def keep(*chosen: tuple[int, int]) -> Note:
    """The note with only these lines, ``(validator, 0 log | 1 ed | 2 pq)``."""
    return replace(NOTE, lines=tuple([NOTE.lines[3 * validator + which] for validator, which in chosen]))


def make_vkey(word: object, type_byte: int = TYPE_COSIGNATURE_V1) -> str:
    return VerifierKey.build("witness.example/w", type_byte, Ed25519Key(seed(word)).public).format()


LOG_LINE = f"log {make_vkey('log', TYPE_ED25519)}\n"


def refuse(text: str, code: str) -> str:
    with pytest.raises(DecodeError) as caught:
        Policy.parse(text.encode())
    assert caught.value.code == code, caught.value
    assert code in NEXT_STEPS
    return caught.value.fact


# --- the language ---------------------------------------------------------------------------------


def test_policy_of_the_demo_takes_its_checkpoint() -> None:
    folder = find_vectors("derived-demo")
    policy = Policy.parse((folder / "tlog-policy").read_bytes())
    evaluation = policy.check(Note.parse((folder / "checkpoint").read_bytes()))
    assert (evaluation.counted, evaluation.needed, evaluation.known) == (4, 3, 4)
    assert evaluation.cosigned == ("v0", "v1", "v2", "v3", "bft-quorum")
    assert policy.check(Note.parse((folder / "checkpoint.with-mldsa").read_bytes())).satisfied


def test_comments_blank_lines_and_tabs_do_not_matter() -> None:
    plain = f"{LOG_LINE}witness w {make_vkey(1)}\nquorum w\n"
    loose = f"# one\n\n \t\n\t#two \n log\t {make_vkey('log', TYPE_ED25519)} \nwitness\tw  {make_vkey(1)}\n quorum w \n"
    assert Policy.parse(loose.encode()) == Policy.parse(plain.encode())
    assert Policy.parse(loose.encode()).format() == plain.encode()


def test_names_are_opaque_octets() -> None:
    data = f"{LOG_LINE}witness ".encode() + b"\xff\xfe " + f"{make_vkey(1)} https://w\u00e9.example/\nquorum ".encode()
    policy = Policy.parse(data + b"\xff\xfe\n")
    assert policy.format() == data + b"\xff\xfe\n"
    with pytest.raises(DecodeError, match="POLICY-06"):
        Policy.parse(data + b"\xff\xfd\n")


def test_limits_recommended_by_the_specification_are_held() -> None:
    lines = [f"log {make_vkey(('log', n), TYPE_ED25519)}" for n in range(40)]
    lines += [f"witness w{n} {make_vkey(('w', n))}" for n in range(40)]
    lines += [f"group g{n} any w{n}" for n in range(40)]
    lines += ["group g all " + " ".join(f"g{n}" for n in range(40)), "quorum g"]
    policy = Policy.parse(("\n".join(lines) + "\n").encode())
    assert (len(policy.logs), len(policy.witnesses), len(policy.groups)) == (40, 40, 41)
    assert policy.groups[-1].threshold == 40


W1, W2 = f"witness w1 {make_vkey(1)}\n", f"witness w2 {make_vkey(2)}\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "POLICY-08"),
        (W1, "POLICY-08"),
        ("quorum none\nquorum none\n", "POLICY-08"),
        ("quorum none", "POLICY-01"),
        ("quorum none\r\n", "POLICY-01"),
        ("quorum none\x7f\n", "POLICY-01"),
        ("quorum\x00none\n", "POLICY-01"),
        ("quorum\n", "POLICY-01"),
        ("quorum none none\n", "POLICY-01"),
        ("Quorum none\n", "POLICY-01"),
        ("witness w\nquorum none\n", "POLICY-01"),
        (f"log {make_vkey(1, TYPE_ED25519)} url url\nquorum none\n", "POLICY-01"),
        ("group g any\nquorum none\n", "POLICY-01"),
        ("#" * (1 << 20) + "\n", "POLICY-01"),
        ("log nonsense\nquorum none\n", "POLICY-03"),
        (f"log {make_vkey(1)}\nquorum none\n", "POLICY-03"),
        (f"witness w {make_vkey(1, TYPE_ED25519)}\nquorum none\n", "POLICY-03"),
        (W1 + f"witness w2 {make_vkey(1)}\nquorum none\n", "POLICY-04"),
        (W1 + f"log {make_vkey(1, TYPE_ED25519)}\nquorum none\n", "POLICY-04"),
        (LOG_LINE + LOG_LINE + "quorum none\n", "POLICY-04"),
        (f"witness none {make_vkey(1)}\nquorum none\n", "POLICY-05"),
        (W1 + f"witness w1 {make_vkey(2)}\nquorum none\n", "POLICY-05"),
        (W1 + "group w1 any w1\nquorum none\n", "POLICY-05"),
        ("quorum w1\n" + W1, "POLICY-06"),
        (W1 + "group g any w2\n" + W2 + "quorum g\n", "POLICY-06"),
        (W1 + "group g any g\nquorum g\n", "POLICY-06"),
        (W1 + "group g any none\nquorum g\n", "POLICY-06"),
        (W1 + "group g any w1 w1\nquorum g\n", "POLICY-06"),
        (W1 + W2 + "group g any w1\ngroup h all w1 w2\nquorum h\n", "POLICY-06"),
        (W1 + "group g 0 w1\nquorum g\n", "POLICY-07"),
        (W1 + "group g 2 w1\nquorum g\n", "POLICY-07"),
        (W1 + "group g 01 w1\nquorum g\n", "POLICY-07"),
        (W1 + "group g -1 w1\nquorum g\n", "POLICY-07"),
        (W1 + "group g most w1\nquorum g\n", "POLICY-07"),
        (W1 + "group g \u0661 w1\nquorum g\n", "POLICY-07"),
    ],
)
def test_policy_malformed_is_refused(text: str, code: str) -> None:
    refuse(text, code)


@given(st.lists(st.integers(0, 3), max_size=6), st.data())
def test_nested_groups_count_like_their_definition(chosen: list[int], data: st.DataObject) -> None:
    """(v0 and v1) or 2 of (v2, v3, the first pair): evaluated beside a formula written out."""
    validators = make_validators(4)
    lines = [f"log {validators[0].cosigner.log.format()}"]
    lines += [f"witness v{n} {validator.cosigner.ed25519.format()}" for n, validator in enumerate(validators)]
    inner = data.draw(st.sampled_from(["all", "any", "1", "2"]))
    outer = data.draw(st.sampled_from(["all", "any", "2", "3"]))
    lines += [f"group pair {inner} v0 v1", f"group most {outer} v2 v3 pair", "quorum most"]
    policy = Policy.parse(("\n".join(lines) + "\n").encode())
    signed = {n: n in chosen for n in range(4)}
    pair = (signed[0] and signed[1]) if inner in {"all", "2"} else (signed[0] or signed[1])
    count = signed[2] + signed[3] + pair
    wanted = count >= {"all": 3, "any": 1, "2": 2, "3": 3}[outer]
    evaluation = policy.evaluate(keep((0, 0), *[(n, 1) for n in chosen]))
    assert evaluation.satisfied == wanted
    assert evaluation.counted == count


def test_quorum_none_needs_a_log_only() -> None:
    policy = Policy.parse(f"log {make_validator(0).cosigner.log.format()}\nquorum none\n".encode())
    assert policy.check(keep((0, 0))).satisfied
    with pytest.raises(ProofError, match="POLICY-09"):
        policy.check(keep((1, 0)))
    with pytest.raises(ProofError, match="POLICY-09"):
        Policy.parse(b"quorum none\n").check(NOTE)


def test_log_key_named_for_another_origin_does_not_count() -> None:
    renamed = Checkpoint("ledger.example/other", 5, CHECKPOINT.root)
    note = Note.parse(make_checkpoint(renamed, make_validators(4)))
    # The lines still carry the name of this origin, and verify: only the text says another log.
    with pytest.raises(ProofError, match="POLICY-09"):
        POLICY.check(note)


# --- the written shape ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (64, 43)]
)
def test_quorum_is_n_minus_f(count: int, quorum: int) -> None:
    assert compute_quorum(count) == quorum


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7])
def test_policy_built_reads_back(count: int) -> None:
    policy = make_policy(count)
    assert Policy.parse(policy.format()) == policy
    bft = policy.bft()
    assert (bft.origin, bft.network, bft.quorum) == (ORIGIN, NETWORK, compute_quorum(count))
    assert bft.members == tuple([validator.member for validator in make_validators(count)])
    assert bft.cosigners == tuple([validator.cosigner for validator in make_validators(count)])
    assert policy == Policy.build(ORIGIN, NETWORK, bft.members[::-1])
    assert set(policy.keys) == set(bft.keys)


def test_policy_file_is_the_documented_text() -> None:
    text = re.sub(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+", "+KEY", FILE.decode())
    groups = "".join(f"group {label} any {label}/ed {label}/pq\n" for label in labels(4))
    logs = f"log {ORIGIN}+KEY\n" * 4
    witnesses = "".join(
        f"witness {label}/{kind} {label.partition('@')[0]}/{NETWORK}+KEY\n"
        for label in labels(4)
        for kind in ("ed", "pq")
    )
    assert text == logs + witnesses + groups + f"group bft 3 {' '.join(labels(4))}\nquorum bft\n"


def labels(count: int) -> list[str]:
    return [f"{validator.name}@{validator.jurisdiction}" for validator in make_validators(count)]


def test_two_keys_of_one_validator_never_count_twice() -> None:
    evaluation = POLICY.evaluate(keep((0, 0), (0, 1), (0, 2), (1, 1), (1, 2)))
    assert (evaluation.satisfied, evaluation.counted) == (False, 2)
    with pytest.raises(ProofError, match="POLICY-02 2 of 4 known cosigners signed, 3 needed"):
        POLICY.check(keep((0, 0), (0, 1), (0, 2), (1, 1), (1, 2)))


def test_line_repeated_never_counts_twice() -> None:
    assert POLICY.evaluate(keep((0, 0), (0, 1), (0, 1), (0, 1))).counted == 1


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1))
def test_checkpoint_is_taken_with_a_log_and_a_quorum_of_distinct_validators(chosen: set[tuple[int, int]]) -> None:
    validators = {validator for validator, which in chosen if which}
    wanted = len(validators) >= 3 and any(which == 0 for _, which in chosen)
    note = keep(*sorted(chosen))
    for strict in (False, True):
        evaluation = POLICY.evaluate(note, strict=strict)
        assert evaluation.satisfied == wanted
        assert evaluation.counted == len(validators)
    assert evaluation.cosigned[len(evaluation.cosigned) - 1 :] in {("bft",), ()} or len(validators) < 3


def test_unknown_cosigner_is_ignored_unless_strict() -> None:
    note = Note.parse(make_checkpoint(CHECKPOINT, make_validators(5)))
    assert POLICY.check(note).counted == 4
    with pytest.raises(ProtocolError, match="NOTE-04"):
        POLICY.check(note, strict=True)


def test_strict_refuses_lines_out_of_order() -> None:
    note = replace(NOTE, lines=NOTE.lines[::-1])
    assert POLICY.check(note).counted == 4
    with pytest.raises(ProtocolError, match="NOTE-06"):
        POLICY.check(note, strict=True)


def test_strict_refuses_a_policy_of_another_shape() -> None:
    policy = Policy.parse(FILE.replace(b"group bft 3", b"group bft 2"))
    assert policy.check(NOTE).satisfied
    with pytest.raises(ProofError, match="POLICY-11 bft asks for 2 of 4, not for 3"):
        policy.check(NOTE, strict=True)


REPLACED = [
    (b"group bft 3", b"group bft any", "POLICY-11"),
    (b"group bft 3", b"group bft all", "POLICY-11"),
    (b"quorum bft", b"quorum none", "POLICY-10"),
    (b"quorum bft", b"quorum institute-0@DE", "POLICY-10"),
    (b"any institute-0@DE/ed", b"all institute-0@DE/ed", "POLICY-10"),
    (b"institute-0@DE", b"institute-0@XYZ", None),
    (b"institute-0@DE", b"institute-9@DE", "POLICY-10"),
    (b"institute-0@DE", b"institute-0@DEUTSCHLAND", "POLICY-10"),
    (b"institute-0@DE/ed institute-0@DE/pq", b"institute-0@DE/pq institute-0@DE/ed", "POLICY-10"),
    (b"group bft 3 institute-0@DE institute-1@FR", b"group bft 3 institute-1@FR institute-0@DE", "POLICY-10"),
]


@pytest.mark.parametrize(("old", "new", "code"), REPLACED)
def test_policy_edited_is_refused_or_means_another_jurisdiction(old: bytes, new: bytes, code: str | None) -> None:
    policy = Policy.parse(FILE.replace(old, new))
    if code is None:
        assert policy.bft().members[0].jurisdiction == "XYZ"
        return
    with pytest.raises(ProofError, match=code):
        policy.bft()
    assert code in NEXT_STEPS


def test_policy_with_a_line_lost_is_refused() -> None:
    lines = FILE.splitlines(keepends=True)
    for place in range(len(lines)):
        with pytest.raises(ProtocolError, match="POLICY-"):
            Policy.parse(b"".join(lines[:place] + lines[place + 1 :])).bft()


def test_policy_with_lines_swapped_is_refused_or_the_same() -> None:
    lines = FILE.splitlines(keepends=True)
    for place in range(len(lines) - 1):
        changed = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
        try:
            policy = Policy.parse(b"".join(changed))
            bft = policy.bft()
        except ProtocolError:
            continue
        # Log keys are named for the origin, not for a member, so nothing tells two log lines apart.
        assert place < 3 or bft == POLICY.bft()
        assert sorted(member.log for member in bft.members) == sorted(member.log for member in POLICY.bft().members)


@settings(max_examples=600)
@given(st.integers(0, len(FILE) - 1), st.integers(0, 7))
def test_any_bit_of_a_policy_flipped_is_refused_or_without_effect(place: int, bit: int) -> None:
    check_flip(place, bit)


def test_every_bit_of_keys_of_one_validator_and_of_the_quorum_flipped_is_refused() -> None:
    """All bits outside the long ML-DSA keys, whose bytes the property above samples."""
    spans = [match.span() for match in re.finditer(rb"(?<=/pq )\S{1000,}", FILE)]
    for place in range(len(FILE)):
        if any(start + 60 < place < end - 4 for start, end in spans):
            continue
        for bit in range(8):
            check_flip(place, bit)


def check_flip(place: int, bit: int) -> None:
    flipped = FILE[:place] + bytes((FILE[place] ^ 1 << bit,)) + FILE[place + 1 :]
    try:
        bft = Policy.parse(flipped).bft()
    except ProtocolError as error:
        # A message says what is wrong, and there is something to do about it.
        if error.code not in NEXT_STEPS or len(error.fact) < 10:
            raise
        return
    assert bft == POLICY.bft(), f"byte {place}, bit {bit}"


def test_policy_of_impossible_members_is_our_bug() -> None:
    member = make_validator(0).member
    for wrong in (
        replace(member, name="Institute"),
        replace(member, name=""),
        replace(member, jurisdiction="de"),
        replace(member, log=bytes(31)),
        replace(member, mldsa44=bytes(32)),
    ):
        with pytest.raises(ValueError, match=r"member|bytes"):
            Policy.build(ORIGIN, NETWORK, [wrong])
    with pytest.raises(ValueError, match="nobody"):
        Policy.build(ORIGIN, NETWORK, [])


def test_members_with_one_key_between_them_are_refused() -> None:
    one, two = make_validator(0).member, make_validator(1).member
    for shared in (replace(two, ed25519=one.ed25519), replace(two, log=one.ed25519), replace(two, mldsa44=one.mldsa44)):
        with pytest.raises(DecodeError, match="POLICY-04"):
            Policy.build(ORIGIN, NETWORK, [one, shared])


def test_policy_without_groups_is_not_of_the_shape() -> None:
    for text in ("quorum none\n", W1 + "quorum w1\n", W1 + "group bft any w1\nquorum bft\n"):
        with pytest.raises(ProofError, match="POLICY-1"):
            Policy.parse(text.encode()).bft()
    assert Policy.parse((W1 + "group g 1 w1\nquorum g\n").encode()).groups == (Group("g", 1, ("w1",)),)


def test_every_line_of_the_note_is_by_a_key_of_the_policy() -> None:
    assert verify_note(NOTE, POLICY.bft().keys, check=check_line, strict=True) == POLICY.bft().keys


def rebuild(order: list[int], *, logs: list[int] | None = None, witnesses: list[int] | None = None) -> Policy:
    """The four validators' policy with its lines in another order, or with lines of other validators."""
    chosen = [POLICY.logs[n] for n in logs or order]
    pairs = [witness for n in witnesses or order for witness in POLICY.witnesses[2 * n : 2 * n + 2]]
    groups = [POLICY.groups[n] for n in order]
    bft = Group("bft", compute_quorum(len(order)), tuple([group.name for group in groups]))
    return Policy.parse(Policy(tuple(chosen), tuple(pairs), (*groups, bft), "bft").format())


def test_policy_with_lines_of_too_many_is_refused() -> None:
    assert rebuild([0, 1, 2]).bft().quorum == 3
    for policy in (rebuild([0, 1, 2], logs=[0, 1, 2, 3]), rebuild([0, 1, 2], witnesses=[0, 1, 2, 3])):
        with pytest.raises(ProofError, match=r"POLICY-10 \d log and \d witness lines for 3 validators"):
            policy.bft()


def test_policy_out_of_the_order_of_names_is_refused() -> None:
    assert rebuild([0, 1, 2, 3]) == POLICY
    with pytest.raises(ProofError, match="POLICY-10 the validators are not in the order"):
        rebuild([1, 0, 2, 3]).bft()


@pytest.mark.parametrize(
    ("member", "network", "origin"),
    [("institute-2", "other", ORIGIN), ("institute-9", NETWORK, ORIGIN), ("institute-2", NETWORK, "ledger.example/x")],
)
def test_policy_with_a_key_for_another_member_network_or_log_is_refused(member: str, network: str, origin: str) -> None:
    cosigner = make_validator(2).cosigner
    log = VerifierKey.build(origin, TYPE_ED25519, cosigner.log.key)
    ed25519 = VerifierKey.build(f"{member}/{network}", TYPE_COSIGNATURE_V1, cosigner.ed25519.key)
    data = FILE.replace(cosigner.log.format().encode(), log.format().encode())
    data = data.replace(cosigner.ed25519.format().encode(), ed25519.format().encode())
    with pytest.raises(ProofError, match="POLICY-10 a key of institute-2 is named for another"):
        Policy.parse(data).bft()
