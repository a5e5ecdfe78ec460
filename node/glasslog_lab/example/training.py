"""The training itself, recorded: one line more for each step than it would have without a recorder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from glasslog_lab.errors import ArtifactError
from glasslog_lab.example.data import Digit
from glasslog_lab.example.perceptron import (
    HIDDEN,
    LEARNING_RATE,
    MOMENTUM,
    PARAMETERS,
    Outcome,
    Perceptron,
    batch_memories,
    memories,
)
from glasslog_lab.example.weights_file import read_tensors, write_tensors
from glasslog_lab.recorder import Level, Recorder
from glasslog_lab.recorder.digests import batch_digest, content_root
from glasslog_lab.recorder.journal import Journal
from glasslog_lab.recorder.replay import Replayed

NAME = "digits"
SEED = 1
BATCH = 32
FLOP_PER_STEP = 6 * PARAMETERS * BATCH  # the usual estimate: 2 forward and 4 backward for a parameter and a sample


class Progress(NamedTuple):
    """One step done: its number, the loss of its batch before the update, and how many of the batch were right."""

    step: int
    loss: float
    right: int


@dataclass(slots=True)
class Training:
    """A network, what it learns from, and in which order; everything follows from data and seed."""

    digits: Sequence[Digit]
    steps: int
    network: Perceptron = field(default_factory=lambda: Perceptron.initial(SEED))
    order: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        """Fix the order of the data, whole batches of an epoch after another."""
        places = range(len(self.digits))
        epoch = 0
        while len(self.order) < self.steps * BATCH:
            shuffled = sorted(places, key=lambda place: sha256(f"{SEED} {epoch} {place}".encode()).digest())
            self.order += shuffled[: len(shuffled) // BATCH * BATCH]
            epoch += 1
        del self.order[self.steps * BATCH :]

    @property
    def data_order(self) -> bytes:
        """SHA-256 over the places in the table, 4 bytes each, in the order in which they are trained on."""
        return sha256(b"".join(place.to_bytes(4, "big") for place in self.order)).digest()

    def batch(self, step: int) -> list[Digit]:
        """Return what step ``step``, counted from 1, is trained on."""
        return [self.digits[place] for place in self.order[(step - 1) * BATCH : step * BATCH]]

    def learn(self, batch: Sequence[Digit]) -> Outcome:
        """Update the network once."""
        return self.network.update(batch)

    def recorder(self, folder: Path, dataset: bytes, every: int) -> Recorder:
        """Return the recorder of this training; a segment is ``every`` steps and the checkpoint behind them."""
        return Recorder(
            folder,
            NAME,
            level=Level.L2,
            commits=("gradients", "optimizer"),
            every=every + 1,  # records, the checkpoint's among them, which ends a segment
            seconds=3_600,
            strict=True,
            seed=SEED,
            dataset=dataset,
            data_order=self.data_order,
            hyperparameters=hyperparameters(self.steps),
        ).begin(memories(self.network.parameters), first_step=1)

    def run(self, recorder: Recorder, folder: Path, every: int) -> Iterator[Progress]:
        """Do all steps, each recorded after its update; keep the state after every ``every`` steps."""
        network = self.network
        keep_state(network, folder, 0)
        for step in range(1, self.steps + 1):
            batch = self.batch(step)
            gradients, loss, right = self.learn(batch)
            recorder.step(
                memories(network.parameters), batch=batch_memories(batch), gradients=memories(gradients),
                optimizer=memories(network.momentum), values={"loss": loss}, tokens=BATCH, flop=FLOP_PER_STEP,
            )  # fmt: skip
            if step % every == 0:
                keep_state(network, folder, step)
                if step < self.steps:  # the last segment ends with the run
                    recorder.checkpoint(memories(network.parameters), memories(network.momentum))
            yield Progress(step, loss, right)


def hyperparameters(steps: int) -> dict[str, str]:
    """Return what was chosen, as texts."""
    return {
        "architecture": f"64-{HIDDEN}-10, ReLU", "batch": str(BATCH), "learning-rate": str(LEARNING_RATE),
        "loss": "half squared error", "momentum": str(MOMENTUM), "steps": str(steps),
    }  # fmt: skip


def keep_state(network: Perceptron, folder: Path, step: int) -> None:
    """Keep parameters and momentum after ``step``: a replay starts from them."""
    folder.mkdir(exist_ok=True)
    write_tensors(folder / f"step-{step:06d}.safetensors", network.parameters)
    write_tensors(folder / f"step-{step:06d}.momentum.safetensors", network.momentum)


def restore_state(folder: Path, step: int) -> Perceptron:
    """Return the network as it was kept after ``step``.

    Raises:
        ArtifactError: EXAMPLE-03.
    """
    parameters = read_tensors(folder / f"step-{step:06d}.safetensors")
    return Perceptron(parameters, read_tensors(folder / f"step-{step:06d}.momentum.safetensors"))


def replay_steps(training: Training, states: Path, journal: Journal, first: int, last: int) -> Iterable[Replayed]:
    """Do the steps from ``first`` to ``last`` again, from the state kept before them, and yield what came out.

    Raises:
        ArtifactError: EXAMPLE-03 the state is not there, EXAMPLE-04 the journal commits to another order of the data,
            or a step to another batch.
    """
    if journal.chain.start.data_order != training.data_order:
        raise ArtifactError(
            "EXAMPLE-04", "the run committed to another order of the data", "replay it with its own program"
        )
    committed = list_batches(journal)
    network = restore_state(states, first - 1)
    yield Replayed(first - 1, content_root(memories(network.parameters)))
    for step in range(first, last + 1):
        batch = training.batch(step)
        if committed.get(step) != batch_digest(batch_memories(batch)):
            raise ArtifactError("EXAMPLE-04", f"step {step} committed to another batch", "ask for that batch")
        network.update(batch)
        yield Replayed(step, content_root(memories(network.parameters)))


def list_batches(journal: Journal) -> dict[int, bytes | None]:
    """Return the batch that each recorded step committed to."""
    from glasslog.custody import Kind, Record

    records = [Record.decode(data).event for _, segment in journal.segments for data in segment]
    return {event.step: event.batch for event in records if event.kind is Kind.STEP}
