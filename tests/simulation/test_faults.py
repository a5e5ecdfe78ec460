"""Each fault does what it says: a simulator that forgot one would find nothing and look well."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from glasslog.agreement.effects import HeldBlock, Received
from glasslog.agreement.messages import BlockBody, Have, Message, RunRequest, Status, encode_message
from simulation.cluster import Cluster
from simulation.links import FRAME, LATE_MAX, QUEUE_MAX, SPLITS, size_of
from simulation.node import BACKLOG_MAX
from simulation.replay import find_violation
from simulation.suite import make_block
from simulation.swarm import Swarm
from simulation.transcript import Transcript
from simulation.weather import SLOW_SYNC_MAX

PLAIN = Swarm(4, 1, delay=10.0, distribution="fixed")
WORD = RunRequest(1)


def make_cluster(swarm: Swarm = PLAIN) -> tuple[Cluster, list[tuple[int, str, Message]]]:
    """A cluster whose network can be watched: what arrives, when, where."""
    cluster = Cluster(swarm)
    arrived = list[tuple[int, str, Message]]()
    cluster.arrive = lambda sender, receiver, message: arrived.append((cluster.now, receiver, message))  # type: ignore[method-assign]  # the test is the receiver
    return cluster, arrived


def run_until(cluster: Cluster, end: int) -> None:
    while cluster.queue and cluster.queue[0][0] <= end:
        cluster.take_next()
    cluster.now = end


# --- links --------------------------------------------------------------------------------------


def test_link_loses_and_duplicates_its_share_of_messages() -> None:
    cluster, arrived = make_cluster(replace(PLAIN, loss=0.3, duplicate=0.2))
    for _ in range(2_000):
        cluster.send("v0", "v1", WORD)
    run_until(cluster, 5_000)
    assert cluster.faults["lost"] == pytest.approx(600, abs=80)
    assert cluster.faults["duplicated"] == pytest.approx(1_400 * 0.2, abs=60)
    assert len(arrived) == 2_000 - cluster.faults["lost"] + cluster.faults["duplicated"]


@pytest.mark.parametrize("fault", ["reorder", "late"])
def test_messages_overtake_one_another_only_where_the_link_lets_them(fault: str) -> None:
    def overtaken(swarm: Swarm) -> int:
        cluster, arrived = make_cluster(swarm)
        for height in range(200):
            cluster.send("v0", "v1", RunRequest(height))
            run_until(cluster, cluster.now + 3)
        run_until(cluster, cluster.now + 2 * LATE_MAX)
        heights = [message.height for _, _, message in arrived if isinstance(message, RunRequest)]
        assert sorted(heights) == list(range(200))
        return sum(one > other for one, other in pairwise(heights))

    assert overtaken(PLAIN) == 0
    assert overtaken(replace(PLAIN, **{fault: 0.2})) > 10  # type: ignore[arg-type]  # both are probabilities


@pytest.mark.parametrize("distribution", ["fixed", "uniform", "exponential", "heavy-tailed"])
def test_delays_have_the_mean_they_are_drawn_for(distribution: str) -> None:
    cluster = Cluster(replace(PLAIN, delay=40.0, distribution=distribution))
    link = cluster.links.between("v0", "v1")
    delays = [link.draw_delay(cluster.links.random) for _ in range(20_000)]
    assert sum(delays) / len(delays) == pytest.approx(40, rel=0.15)
    assert (len(set(delays)) == 1) is (distribution == "fixed")


def test_narrow_link_passes_one_message_after_another_and_its_queue_has_an_end() -> None:
    cluster, arrived = make_cluster(replace(PLAIN, bandwidth=0.1))
    takes = size_of(WORD) / 0.1
    for _ in range(3):
        cluster.send("v0", "v1", WORD)
    cluster.send("v0", "v2", WORD)
    run_until(cluster, 2_000)
    assert [(at, to) for at, to, _ in arrived] == [
        (int(takes + 11), "v1"), (int(takes + 11), "v2"), (int(2 * takes + 11), "v1"), (int(3 * takes + 11), "v1"),
    ]  # fmt: skip
    for _ in range(1_000):
        cluster.send("v0", "v1", WORD)
    assert cluster.faults["lost from a full queue"] == pytest.approx(1_000 - QUEUE_MAX / takes, abs=2)


def test_size_taken_for_a_message_is_near_its_own() -> None:
    cluster = Cluster(PLAIN)
    sizes = dict[str, list[tuple[int, int]]]()
    original = cluster.send

    def send(sender: str, receiver: str, message: Message) -> None:
        sizes.setdefault(type(message).__name__, []).append((size_of(message), FRAME + len(encode_message(message))))
        original(sender, receiver, message)

    cluster.send = send  # type: ignore[method-assign]  # the test listens
    cluster.run()
    assert sizes.keys() >= {"Vote", "Certificate", "SignedProposal", "BlockBody", "Cosignature", "Have"}
    for name, each in sizes.items():
        taken, real = (sum(column) for column in zip(*each, strict=True))
        assert 0.6 < taken / real < 1.6, name


def test_uneven_links_differ_and_even_ones_do_not() -> None:
    def losses(swarm: Swarm) -> set[float]:
        cluster = Cluster(swarm)
        return {cluster.links.between("v0", other).loss for other in ("v1", "v2", "v3", "lab")}

    assert losses(replace(PLAIN, loss=0.1)) == {0.1}
    assert any(len(losses(replace(PLAIN, loss=0.1, uneven=True, seed=seed))) > 1 for seed in range(3))


NAMES = ("a", "b", "c", "d", "e", "f")


def reach(kind: str, at: int = 2) -> dict[str, str]:
    cut = SPLITS[kind](NAMES, at)
    return {one: "".join(other for other in NAMES if one != other and (one, other) not in cut) for one in NAMES}


@pytest.mark.parametrize(
    ("kind", "reached"),
    [
        ("two sides", "b a def cef cdf cde"),
        ("one cut off", "- cdef bdef bcef bcdf bcde"),
        ("ring", "bf ac bd ce df ae"),
        ("one way", "b a abdef abcef abcdf abcde"),
        ("bridge", "bcdef ac ab aef adf ade"),
    ],
)
def test_partition_cuts_these_and_no_other_links(kind: str, reached: str) -> None:
    assert list(reach(kind).values()) == reached.replace("-", "").split(" ")


def test_partition_moves_on_by_one_and_ends() -> None:
    cluster, arrived = make_cluster()
    cluster.links.split("one cut off")
    alone = list[str]()
    for _ in cluster.nodes:
        senders = {sender for sender, _ in cluster.links.cut}
        alone += [name for name in senders if sum(name in pair for pair in cluster.links.cut) > 2]
        cluster.send(alone[-1], "v0" if alone[-1] != "v0" else "v1", WORD)
        cluster.links.move()
    assert sorted(alone) == sorted(cluster.nodes)
    cluster.links.join()
    cluster.send("v0", "v1", WORD)
    run_until(cluster, 100)
    assert len(arrived) == 1


# --- nodes ----------------------------------------------------------------------------------------


def test_stopped_node_takes_nothing_in_until_it_goes_on_and_then_everything_in_order() -> None:
    transcript = Transcript()
    cluster = Cluster(PLAIN, transcript=transcript)
    cluster.boot("v0")
    node = cluster.nodes["v0"]
    run_until(cluster, 50)
    node.backlog = []
    for height in (3, 1, 2):
        cluster.send("v1", "v0", Status(1, 1, 0, height, 7, 0))
        run_until(cluster, cluster.now + 20)
    assert [line for line in transcript.lines if "<- v1: status" in line] == []
    cluster.weather.resume(node, node.life)
    taken = [line.split("height ")[1][0] for line in transcript.lines if "<- v1: status" in line]
    assert taken == ["3", "1", "2"]


def test_what_waits_for_a_stopped_node_is_bounded_and_lost_with_it() -> None:
    cluster = Cluster(PLAIN)
    cluster.boot("v0")
    node = cluster.nodes["v0"]
    node.backlog = []
    for _ in range(BACKLOG_MAX + 7):
        cluster.arrive("v1", "v0", WORD)
    assert cluster.faults["lost from a full queue"] == 7
    node.crash()
    cluster.boot("v0")
    assert node.backlog is None


def hand_over_block(cluster: Cluster) -> None:
    """One block that v0 keeps and tells the others of."""
    genesis_hash = cluster.network.membership.genesis_hash
    block = make_block(genesis_hash, "lab", 1, genesis_hash, 0, 1)
    cluster.blocks[block.hash] = block
    cluster.step("v0", Received("lab", BlockBody(block.leaf, block.entries)))


def start_all(swarm: Swarm) -> tuple[Cluster, list[Have]]:
    """A cluster that is up and connected, and what v0 will say it has."""
    cluster = Cluster(swarm)
    for name in cluster.nodes:
        cluster.boot(name)
    run_until(cluster, 60)
    said = list[Have]()
    original = cluster.send

    def send(sender: str, receiver: str, message: Message) -> None:
        if sender == "v0" and isinstance(message, Have):
            said.append(message)
        original(sender, receiver, message)

    cluster.send = send  # type: ignore[method-assign]  # the test listens
    return cluster, said


def test_slow_disk_keeps_a_node_silent_until_its_write_is_synced() -> None:
    cluster, said = start_all(PLAIN)
    node = cluster.nodes["v0"]
    node.slow_until = cluster.now + 10
    hand_over_block(cluster)
    assert cluster.faults["slow sync"] == 1
    assert (node.disk.durable.blocks, said) == ({}, [])
    run_until(cluster, cluster.now + SLOW_SYNC_MAX)
    assert len(node.disk.durable.blocks) == 1
    assert said


def test_crash_during_a_sync_loses_the_write_whole() -> None:
    cluster, said = start_all(PLAIN)
    node = cluster.nodes["v0"]
    node.slow_until = cluster.now + 10
    hand_over_block(cluster)
    cluster.crash(node)
    run_until(cluster, cluster.now + SLOW_SYNC_MAX)
    assert cluster.faults["unsynced write lost"] == 1
    assert (node.disk.durable.blocks, said) == ({}, [])


def test_full_disk_silences_a_node_and_it_comes_back_when_there_is_space() -> None:
    outcomes = set[int]()
    for seed in range(12):
        cluster, said = start_all(replace(PLAIN, seed=seed))
        node = cluster.nodes["v0"]
        node.full_until = cluster.now + 500
        hand_over_block(cluster)
        assert not node.alive
        assert said == []
        outcomes.add(len(node.disk.durable.blocks))  # an error does not say whether the write is there (S5)
        run_until(cluster, node.full_until - 1)
        assert not node.alive
        run_until(cluster, cluster.now + 5_000)
        assert node.alive
    assert outcomes == {0, 1}


def test_clocks_drift_apart_and_timers_keep_to_their_own() -> None:
    cluster = Cluster(replace(PLAIN, drift=50))
    rates = {node.rate for node in cluster.nodes.values()}
    assert len(rates) > 1
    assert all(950 <= rate <= 1_050 for rate in rates)
    ticks = dict[int, int]()
    for rate in (950, 1_050):
        cluster, _ = make_cluster()
        cluster.nodes["v0"].rate = rate
        cluster.boot("v0")
        deadline = cluster.nodes["v0"].replica.deadline
        assert deadline is not None
        run_until(cluster, 0)
        ticks[rate] = cluster.queue[0][0]
        assert ticks[rate] * rate // 1_000 >= deadline > (ticks[rate] - 2) * rate // 1_000
    assert ticks[950] > ticks[1_050]


# --- lost state -------------------------------------------------------------------------------------


def lose(how: str, persists_between: int) -> tuple[bool, bool]:
    """Whether v0 takes its state for lost, and whether it says so after it has persisted more."""
    cluster = Cluster(replace(PLAIN, lost=how))
    node = cluster.nodes["v0"]
    genesis_hash = cluster.network.membership.genesis_hash
    block = make_block(genesis_hash, "lab", 1, genesis_hash, 0, 1)
    held = HeldBlock(block.ref, block.leaf, block.entries)
    cluster.blocks[block.hash] = block
    cluster.oracle.on_record("v0", held)
    node.persist([held])
    cluster.weather.copy("v0")
    for _ in range(persists_between):
        node.persist([held])
    cluster.weather.lose_state("v0")
    cluster.boot("v0")
    at_once = node.disk.durable.lost
    for _ in range(persists_between + 1):
        node.persist([held])
    node.crash()
    cluster.boot("v0")
    return at_once, node.replica.recovery is not None


@pytest.mark.parametrize(
    ("how", "persists_between", "is_seen"),
    [
        ("wiped", 1, True),
        ("rolled back", 1, True),
        ("rolled back", 0, False),  # the copy is no older
        ("without its mark", 0, True),
        ("rolled back with its mark", 1, False),  # specs/storage.md, crash matrix: not detected
    ],
)
def test_loss_of_state_is_seen_by_the_mark_and_not_forgotten(how: str, persists_between: int, is_seen: bool) -> None:
    assert lose(how, persists_between) == (is_seen, is_seen)


def test_loss_that_nothing_shows_is_found_by_the_oracle() -> None:
    """The one case the documentation excludes: whoever restores folder and mark together signs against itself."""
    found = (find_violation(Swarm(4, seed, lost="rolled back with its mark", delay=60.0)) for seed in range(40))
    assert any(violation is not None and violation.startswith(("A1 ", "A3 ", "A4 ", "A8 ")) for violation in found)
