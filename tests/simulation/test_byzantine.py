"""Every faulty behaviour really acts, and would do its damage if the rule that withstands it were weaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from unittest.mock import patch

import pytest

from glasslog.agreement import messages
from glasslog.agreement.evidence import Fault
from glasslog.agreement.messages import Kind, Vote, vote_bytes
from glasslog.agreement.replica import Replica
from glasslog.agreement.tally import VIEWS_AHEAD_MAX, Tally
from glasslog.agreement.wants import Wants
from simulation.byzantine.registry import BEHAVIOURS
from simulation.byzantine.replaying import ELSEWHERE
from simulation.cluster import Cluster
from simulation.invariants import FALSE
from simulation.planted_faults import SkipsUnproven
from simulation.replay import find_violation
from simulation.suite import make_network, public_key, sign
from simulation.swarm import Swarm, draw

SEEDS_MAX = 8
DAMAGE = ("A15", "A3", "I5", "AGREE-01")
DEEDS = {
    "silent": ("silent: messages kept back",),
    "equivocating": ("equivocating leader: several proposals in a view", "double-notarize"),
    "double-voting": (
        "double voter: two notarize votes in a view", "double voter: two finalize votes in a view",
        "double-notarize", "double-finalize",
    ),
    "nullify-and-finalize": ("nullify and finalize of one view", "nullify-and-finalize"),
    "stale-fork": ("stale-fork leader: proposals on an old parent",),
    "withholding": ("withholding: blocks, certificates and runs kept back",),
    "withholding-leader": (
        "withholding leader: proposals with a block that nobody has", "withholding leader: bodies kept back",
    ),
    "withholding-author": (
        "withholding author: blocks for the leader only", "withholding author: requests not answered",
    ),
    "forging": (
        "forging: certificates with wrong signatures", "forging: certificates with too few signers",
        "forging: certificates with repeated signers, refused unread", "forging: certificates with a foreign epoch",
        "forging: certificates with mixed claims", "forging: certificates with unknown signers",
        "forging: proposals of others", "forging: votes of others", "forging: cosignatures of others",
    ),
    "replaying": (
        "replay: messages of earlier", "replay: certificates and votes of another network",
        "replay: certificates and votes of another epoch", "replay: certificates and votes of another domain",
        "replay: signatures as another kind",
    ),
    "flooding": ("flooding: messages",),
    "accusing": ("accusing: false accusations entered", FALSE),
    "twins": ("twins: partitions of a seat", "twins: messages masked", "double-notarize"),
    "everything": (
        "stale-fork leader: proposals on an old parent", "double voter: two finalize votes in a view",
        "nullify and finalize of one view",
    ),
}  # fmt: skip


def calm(*behaviours: str, seed: int = 0, validators: int = 4, **changes: object) -> Swarm:
    """Nothing goes wrong but what faulty validators do; enough load that every one of them gets to lead."""
    swarm = Swarm(validators, seed, behaviours=behaviours, blocks=5, delay=20.0, tail=1, partition=0.2, heal_at=3_000)
    return replace(swarm, **changes)  # type: ignore[arg-type] # fields by name


def missing(wanted: Sequence[str], *behaviours: str, validators: int = 4, **changes: object) -> list[str]:
    """Which deeds are not done over a few seeds, in none of which an invariant is violated."""
    done: Counter[str] = Counter()
    for seed in range(SEEDS_MAX):
        cluster = Cluster(calm(*behaviours, seed=seed, validators=validators, **changes))
        cluster.run()
        done.update(cluster.deeds + cluster.evidence)
        if all(done[deed] for deed in wanted):
            break
    return [deed for deed in wanted if not done[deed]]


def test_every_behaviour_has_its_deeds_written_down() -> None:
    assert set(DEEDS) == set(BEHAVIOURS)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_behaviour_really_acts_and_is_withstood(behaviour: str) -> None:
    assert missing(DEEDS[behaviour], behaviour) == []


def test_two_of_seven_and_four_of_thirteen_differ_and_are_withstood() -> None:
    mixed = {
        7: ("twins", "equivocating"),
        13: ("nullify-and-finalize", "double-voting", "withholding-author", "stale-fork"),
    }
    for validators, behaviours in mixed.items():
        wanted = [DEEDS[name][0] for name in behaviours]
        assert missing(wanted, *behaviours, validators=validators, forker="forking", blocks=5) == []


def test_seeds_mix_every_behaviour_with_every_forker() -> None:
    swarms = [draw(validators, seed) for validators in (4, 7) for seed in range(800)]
    assert {name for swarm in swarms for name in swarm.behaviours} == set(BEHAVIOURS)
    mixed = [swarm for swarm in swarms if len(set(swarm.behaviours)) > 1]
    assert {swarm.forker for swarm in mixed} >= {None, "forking", "one-copy", "misnumbering"}


def test_evidence_of_every_kind_comes_to_stand_in_the_ledger() -> None:
    """Must show 5: recorded, and read back from the leaves alone; ``Oracle.judge_end`` judges whom it convicts."""
    recorded: Counter[str] = Counter()
    wanted = [fault.value for fault in Fault]
    for seed in range(60):
        cluster = Cluster(draw(4, seed))
        cluster.run()
        recorded.update(cluster.evidence)
        if all(recorded[name] for name in wanted):
            return
    pytest.fail(f"not every kind within 60 seeds: {recorded}")


# --- more than f of them, or one rule less, and the damage is done --------------------------------


def first_violation(swarms: Callable[[int], Swarm], seeds: int = 40) -> str:
    for seed in range(seeds):
        violation = find_violation(swarms(seed))
        if violation is not None:
            return violation
    return "none"


@pytest.mark.parametrize(
    ("behaviours", "findings"),
    [
        (("silent", "silent"), ("LIVENESS",)),
        (("twins", "twins"), DAMAGE),
        (("double-voting", "equivocating"), DAMAGE),
        (("nullify-and-finalize", "nullify-and-finalize"), (*DAMAGE, "LIVENESS")),
        (("everything", "everything"), DAMAGE),
    ],
)
def test_more_than_f_of_them_do_their_damage(behaviours: tuple[str, ...], findings: tuple[str, ...]) -> None:
    found = first_violation(lambda seed: calm(*behaviours, seed=seed, deadline=20_000))
    assert found.startswith(findings)


def accept_all(_tally: Tally, _vote: Vote) -> None:
    """A15 removed: signatures are not looked at."""


def accept_signed(*places: tuple[bytes, int], any_kind: bool = False) -> Callable[[Tally, Vote], None]:
    """A16 weakened: a signature made for any of these networks and epochs, or for any kind, will do."""
    names = make_network(4).validators
    ours = make_network(4).membership.genesis_hash, 1

    def accepts(vote: Vote) -> bool:
        key = public_key(names[vote.voter], "vote")
        kinds = list(Kind) if any_kind else [vote.kind]
        return vote.voter < len(names) and any(
            sign(key, vote_bytes(genesis_hash, epoch, vote.view, kind, vote.digest)) == vote.signature
            for genesis_hash, epoch in (ours, *places)
            for kind in kinds
        )

    real = Tally.verify_vote

    def verify_vote(tally: Tally, vote: Vote) -> None:
        if vote.voter >= len(names) or not accepts(vote):
            real(tally, vote)

    return verify_vote


GENESIS_HASH = make_network(4).membership.genesis_hash
WEAKNESSES = {
    "forged signatures count": ("forging", "A", (Tally, "verify_vote", accept_all)),
    "another network's votes count": ("replaying", "A", (Tally, "verify_vote", accept_signed((ELSEWHERE, 1)))),
    "another epoch's votes count": ("replaying", "A", (Tally, "verify_vote", accept_signed((GENESIS_HASH, 2)))),
    "votes of another kind count": ("replaying", "A", (Tally, "verify_vote", accept_signed(any_kind=True))),
    "skipped views need no certificate": (
        "stale-fork", "A2", (Replica, "_is_justified", SkipsUnproven._is_justified),
    ),
    "blocks are not fetched": ("withholding-author", "LIVENESS", (Wants, "collect", lambda _wants: None)),
}  # fmt: skip


@pytest.mark.parametrize("weakness", WEAKNESSES)
def test_one_rule_less_and_the_behaviour_does_its_damage(weakness: str) -> None:
    behaviour, finding, (owner, name, instead) = WEAKNESSES[weakness]
    with patch.object(owner, name, instead):
        found = first_violation(lambda seed: calm(behaviour, seed=seed, deadline=20_000))
    assert found.startswith(finding)


def test_repeated_signer_counts_once_because_the_decoder_refuses_it() -> None:
    """The one flaw that only the wire refuses: without that, one key would be a quorum."""

    def decode(data: bytes) -> messages.Message:
        with patch.object(messages, "pairwise", lambda _indices: ()):
            return messages.decode_message(data)

    with patch("simulation.byzantine.behaviour.decode_message", decode):
        found = first_violation(lambda seed: calm("forging", seed=seed))
    assert found.startswith("A15")


def test_flood_takes_no_more_memory_than_the_window_allows() -> None:
    for seed in range(2):
        cluster = Cluster(calm("flooding", seed=seed, heal_at=6_000))
        cluster.run()
        for name in cluster.honest:
            replica = cluster.nodes[name].replica
            assert len(replica.tally.rounds) <= VIEWS_AHEAD_MAX + replica.view - replica.tally.floor_view + 1
            assert len(replica.connected) == len(cluster.network.names) - 1
