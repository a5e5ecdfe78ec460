"""A cluster on a stage: no chance, every message takes 10 ms, and a script says what is lost and who falls.

A script is a text file of commands, each followed by ``----`` and the transcript it makes (as etcd's datadriven
tests): a person reads it from top to bottom, and the test compares it to the letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar

from glasslog.agreement.effects import Received
from glasslog.agreement.messages import BlockBody, Message, Status
from simulation.cluster import Cluster
from simulation.suite import make_block
from simulation.swarm import Swarm
from simulation.transcript import Transcript

LATENCY = 10
T = TypeVar("T")


class Steady(Random):
    """No chance: the smallest number, and every choice in turn."""

    turn = 0

    def randint(self, a: int, b: int) -> int:
        return a

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return 0 if stop is None else start

    def expovariate(self, lambd: float = 1.0) -> float:
        return 1 / lambd

    def random(self) -> float:
        return 0.5

    def choice(self, seq: Any) -> Any:
        self.turn += 1
        return seq[self.turn % len(seq)]


class Stage(Cluster):
    """The same cluster and the same oracle, driven by commands instead of by a seed."""

    def __init__(self, validators: int, *, faulty: str | None, observer: bool) -> None:
        behaviours = (faulty,) if faulty else ()
        swarm = Swarm(validators, 0, heal_at=0, behaviours=behaviours, observer=observer, lost="wiped", storm=0.0)
        super().__init__(swarm, transcript=Transcript())
        self.random = self.weather.random = Steady()
        self._losses: list[tuple[set[str], set[str], set[str]]] = []
        for name in self.nodes:
            self.boot(name)

    def send(self, sender: str, receiver: str, message: Message) -> None:
        if receiver not in self.nodes or self._is_lost(sender, receiver, message):
            return
        self.later(LATENCY, partial(self.arrive, sender, receiver, message))

    def _is_lost(self, sender: str, receiver: str, message: Message) -> bool:
        assert self.transcript is not None
        said = "status" if isinstance(message, Status) else self.transcript.say(message)
        return any(
            sender in senders
            and receiver in receivers
            and ("*" in words or any(said.startswith(word) for word in words))
            for senders, receivers, words in self._losses
        )

    def _enter(self, name: str, evidence: bytes) -> None:
        """A script says what is sealed; evidence is shown, not entered."""

    # --- commands ---------------------------------------------------------------------------------

    def do(self, command: str, words: Sequence[str]) -> list[str]:
        """Carry out one command and return the transcript it made."""
        assert self.transcript is not None
        before = len(self.transcript.lines)
        commands: dict[str, Callable[..., list[str] | None]] = {
            "run": self._run,
            "seal": self._seal,
            "fork": self._fork,
            "lose": self._lose,
            "heal": self._mend,
            "crash": self._fall,
            "start": self._rise,
            "wipe": self._wipe,
            "show": self._show,
        }
        shown = commands[command](*words) or []
        return [line for line in self.transcript.lines[before:] if is_telling(line)] + shown

    def _names(self, text: str) -> set[str]:
        return set(self.nodes) if text == "*" else set(text.split(","))

    def _run(self, milliseconds: str) -> None:
        end = self.now + int(milliseconds)
        while self.queue and self.queue[0][0] <= end:
            self.take_next()
        self.now = end

    def _seal(self, author: str, count: str = "1") -> None:
        for _ in range(int(count)):
            lab = next(lab for lab in self.labs if lab.name == author)
            lab.plan(0)
            self._run("0")

    def _fork(self, author: str, first: str, second: str) -> None:
        """Write two blocks of one number, each to its own readers."""
        genesis_hash = self.network.membership.genesis_hash
        self.oracle.expect_faulty(author)
        for salt, readers in enumerate((first, second)):
            block = make_block(genesis_hash, author, 1, genesis_hash, 0, 1, salt=salt)
            self.blocks[block.hash] = block
            for name in sorted(self._names(readers)):
                self.step(name, Received(author, BlockBody(block.leaf, block.entries)))

    def _lose(self, senders: str, receivers: str, *words: str) -> None:
        self._losses.append((self._names(senders), self._names(receivers), set(words)))

    def _mend(self) -> None:
        self._losses.clear()

    def _fall(self, names: str) -> None:
        assert self.transcript is not None
        for name in sorted(self._names(names)):
            self.nodes[name].crash()
            self.transcript.note(self.now, name, "crashes")
            for peer in self.nodes.values():
                if peer.alive:
                    self._lose_peer(peer, peer.life, self.nodes[name], self.nodes[name].life)

    def _rise(self, names: str) -> None:
        for name in sorted(self._names(names)):
            self.boot(name)

    def _wipe(self) -> None:
        self.weather.lose_state(self.network.validators[0])

    def _show(self) -> list[str]:
        rows = list[str]()
        for name, node in sorted(self.nodes.items()):
            r = node.replica
            state = f"view {r.view}, height {r.branches.floor.height}, size {r.branches.state.size}"
            state += f", published {r.publication.published_size}, evidence {len(node.disk.durable.evidence)}"
            state += ", recovering" if r.recovery is not None else ""
            rows.append(f"{name:<7} {state if node.alive else 'down'}")
        return rows


def is_telling(line: str) -> bool:
    """Effects and notes; what arrives was sent above, and statuses repeat themselves."""
    return " -> " in line.replace(" ** ", " -> ") and ": status " not in line and "gossip" not in line


def split_script(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the lines before each command (comments, blank lines) and the command."""
    lead = list[str]()
    skipping = False
    for line in text.splitlines():
        if skipping and line:
            continue
        skipping = False
        if line == "----":
            skipping = True
        elif line and not line.startswith("#"):
            yield lead, line
            lead = []
        else:
            lead.append(line)


def play(text: str) -> str:
    """Return the script with the transcripts that its commands make now."""
    out = list[str]()
    stage: Stage | None = None
    for lead, line in split_script(text):
        command, *words = line.split()
        out += [*lead, line, "----"]
        if command == "network":
            options = dict(word.split("=") for word in words)
            stage = Stage(
                int(options["validators"]), faulty=options.get("faulty"), observer=options.get("observer") == "yes"
            )
        else:
            assert stage is not None
            out += stage.do(command, words)
    return "\n".join(out) + "\n"
