"""The example's program: ``python -m glasslog_lab.example.digits train FOLDER``, and ``replay FOLDER``.

``train`` leaves in FOLDER the data sets, the recorder's journal, the states it kept, ``digits.safetensors`` and, one
file each and numbered in their order, the statements to submit. With ``--json`` it prints an object a line as it goes,
the statements among them, so that whoever started it can submit them while it runs.
"""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from glasslog.predicates.values import RECORDS
from glasslog.statement import to_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.example import statements
from glasslog_lab.example.data import Digit, draw, load_digits, read_digits, write_digits
from glasslog_lab.example.perceptron import PARAMETERS, measure_accuracy
from glasslog_lab.example.statements import Stated
from glasslog_lab.example.training import BATCH, NAME, Training, replay_steps
from glasslog_lab.example.weights_file import write_tensors
from glasslog_lab.recorder.journal import Journal, read_journal
from glasslog_lab.recorder.replay import replay_run
from glasslog_lab.recorder.statements import replay_statement

STEPS = 320
STEPS_A_SEGMENT = 40
EXIT_DIVERGED = 1

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

Say = Callable[[dict[str, Any]], None]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Folder = Annotated[Path, typer.Argument(help="Where everything is kept.")]


@dataclass(slots=True)
class Pipeline:
    """One run of the example, from the data sets to the release."""

    folder: Path
    say: Say
    steps: int = STEPS
    every: int = STEPS_A_SEGMENT
    make: Callable[[list[Digit], int], Training] = Training
    _told: int = 0
    _segments: int = 0
    _right: list[int] = field(default_factory=list[int])
    _losses: list[float] = field(default_factory=list[float])

    @property
    def journal(self) -> Journal:
        """The recorder's journal, read from its file and verified."""
        return read_journal(self.folder / f"{NAME}.journal")

    def run(self, begin: Callable[[], None]) -> None:
        """Do everything; ``begin`` is called when all is committed to, and returns when the first step may be done."""
        (self.folder / "statements").mkdir(parents=True, exist_ok=True)
        to_train, to_test = load_digits()
        train = self._state_data(to_train, "train", "What the network learns from.")
        test = self._state_data(to_test, "test", "What the network is tested with, and has not seen.")
        training = self.make(to_train, self.steps)
        root = (train.resource.digest or {})[RECORDS]
        recorder = training.recorder(self.folder, root if isinstance(root, bytes) else b"", self.every)
        run = statements.state_run(self.journal, train.resource)
        self._state("training-run", run)
        bar = statements.state_bar(run.resource, test.resource)
        self._state("evaluation-bar", bar)
        about: dict[str, Any] = {
            "event": "ready", "digits": len(to_train), "test": len(to_test), "parameters": PARAMETERS,
            "steps": self.steps, "batch": BATCH, "threshold": str(statements.THRESHOLD),
        }  # fmt: skip
        self.say(about)
        begin()
        for progress in training.run(recorder, self.folder / "states", self.every):
            self._right.append(progress.right)
            self._losses.append(progress.loss)
            self.say({"event": "step", "step": progress.step, "loss": round(progress.loss, 6), "right": progress.right})
            if progress.step > (self._segments + 1) * self.every:  # written behind our back; a step later it is there
                self._state_segments()
        self.say({"event": "recorded", "line": recorder.close()})
        self._state_segments()
        self._release(training, to_test, run, bar, test)

    def _release(self, training: Training, to_test: list[Digit], run: Stated, bar: Stated, test: Stated) -> None:
        network = training.network
        path = self.folder / f"{NAME}.safetensors"
        write_tensors(path, network.parameters)
        model = statements.state_model(path)
        self._state("model", model)
        answers = [network.answer(digit) for digit in to_test]
        right = measure_accuracy(network, to_test)
        evaluation = statements.state_evaluation(model.resource, bar, test.resource, right, len(to_test))
        self._state("evaluation", evaluation)
        self._state("release", statements.state_release(model, run.resource, evaluation, path))
        self.say(
            {
                "event": "done",
                "right": right,
                "test": len(to_test),
                "model": str(path),
                "shown": _show(to_test, answers),
            }
        )

    def _state_data(self, digits: list[Digit], name: str, description: str) -> Stated:
        path = self.folder / f"{name}.csv"
        write_digits(digits, path)
        stated = statements.state_dataset(path, self.folder / f"{name}.index", description)
        self._state("dataset", stated)
        return stated

    def _state_segments(self) -> None:
        journal = self.journal
        for segment, records in journal.segments[self._segments :]:
            self._segments += 1
            self._state("training-segment", statements.state_segment(journal, segment, records))
            losses = self._losses[segment.first_step - 1 : segment.last_step]
            right = self._right[segment.first_step - 1 : segment.last_step]
            self.say(
                {
                    "event": "segment", "number": segment.index + 1, "first": segment.first_step,
                    "last": segment.last_step, "head": segment.head.hex(), "gaps": segment.counts.gaps,
                    "loss": round(sum(losses) / len(losses), 6), "right": sum(right), "seen": BATCH * len(right),
                }
            )  # fmt: skip

    def _state(self, kind: str, stated: Stated) -> None:
        self._told += 1
        text = to_json(stated.statement)
        (self.folder / "statements" / f"{self._told:02d}-{kind}.json").write_text(text)
        self.say({"event": "statement", "kind": kind, "statement": json_text.loads(text)})


def _show(digits: list[Digit], answers: list[int]) -> list[dict[str, Any]]:
    """Return the first image of each of some digits that was taken for what it is, and the first that was not."""
    right = {digit.label: (digit, answer) for digit, answer in reversed(list(zip(digits, answers, strict=True)))
             if digit.label == answer}  # fmt: skip
    wrong = [(digit, answer) for digit, answer in zip(digits, answers, strict=True) if digit.label != answer]
    chosen = [right[label] for label in (3, 7, 8) if label in right] + wrong[:1]
    return [{"lines": draw(digit), "label": digit.label, "answer": answer} for digit, answer in chosen]


@app.callback()
def example() -> None:
    """Train a small network on handwritten digits, every update recorded."""


@app.command()
def train(
    folder: Folder,
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="How many updates.")] = STEPS,
    every: Annotated[int, typer.Option(min=1, help="Steps to a segment.")] = STEPS_A_SEGMENT,
    hold: Annotated[
        bool, typer.Option("--hold", help="Before the first update, wait for a line of input: until all is logged.")
    ] = False,
    json: Json = False,
) -> None:
    """Train, and write weights and statements into FOLDER."""
    run_pipeline(Pipeline(folder, say_json if json else say_line, steps, every), hold=hold)


@app.command()
def replay(
    folder: Folder,
    beacon: Annotated[str, typer.Option(help="Hexadecimal: the root of a checkpoint published after the run's end.")],
    count: Annotated[int, typer.Option(help="How many segments.")] = 1,
    json: Json = False,
) -> None:
    """Do random segments of the training in FOLDER again and say whether they come out the same."""
    with exiting():
        journal = read_journal(folder / f"{NAME}.journal")
        training = Training(read_digits(folder / "train.csv"), journal.end.last_step)
        try:
            chosen_by = bytes.fromhex(beacon)
        except ValueError as error:
            raise ArtifactError("REPLAY-03", "the beacon is not hexadecimal", "give a checkpoint's root") from error
        again = partial(replay_steps, training, folder / "states", journal)
        outcome = replay_run(journal, again, beacon=chosen_by, count=count)
        told: dict[str, Any] = {
            "state": outcome.state, "segments": outcome.segments, "sampled": [one + 1 for one in outcome.sampled],
            "first_diverged": outcome.first_diverged, "detection": f"{float(outcome.detection):.4f}",
            "reasons": [one.reason for one in outcome.outcomes if one.reason],
            "statement": json_text.loads(to_json(replay_statement(journal, outcome, same_environment="same"))),
        }  # fmt: skip
    where = "" if outcome.first_diverged is None else f" at step {outcome.first_diverged}"
    line = f"{outcome.state}{where}: {len(outcome.sampled)} of {outcome.segments} segments done again"
    typer.echo(json_text.dumps(told) if json else line)
    if outcome.state != "exact":
        raise typer.Exit(EXIT_DIVERGED)


def run_pipeline(pipeline: Pipeline, *, hold: bool) -> None:
    """Run the whole example; faults become one line and status 2.

    Raises:
        typer.Exit: 2, it could not be done.
    """
    with exiting():
        if pipeline.folder.exists() and (not pipeline.folder.is_dir() or any(pipeline.folder.iterdir())):
            raise ArtifactError(
                "EXAMPLE-05", f"{pipeline.folder} is not empty", "name a folder that does not exist yet"
            )
        try:
            pipeline.run(_wait_for_line if hold else lambda: None)
        except OSError as error:
            reason = f"{pipeline.folder} cannot be used: {error.strerror or error}"
            raise ArtifactError("EXAMPLE-05", reason, "name a folder that can be written") from error


@contextmanager
def exiting() -> Generator[None]:
    """Turn what is wrong with somebody's files into one line and status 2.

    Raises:
        typer.Exit: with status 2.
    """
    try:
        yield
    except ArtifactError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def say_line(event: dict[str, Any]) -> None:
    """Print what people want to read of an event."""
    match event["event"]:
        case "ready":
            typer.echo(f"{event['digits']} digits, {event['parameters']} parameters, {event['steps']} updates to come")
        case "segment":
            share = 100 * event["right"] / event["seen"]
            typer.echo(f"steps {event['first']} to {event['last']}: loss {event['loss']:.3f}, {share:.1f} % right")
        case "recorded":
            typer.echo(f"recorded: {event['line']}")
        case "done":
            typer.echo(f"{event['right']} of {event['test']} digits it had not seen are right: {event['model']}")
        case _:
            pass


def say_json(event: dict[str, Any]) -> None:
    """Print an event as one line of JSON."""
    sys.stdout.write(json_text.dumps(event) + "\n")
    sys.stdout.flush()


def _wait_for_line() -> None:
    if not sys.stdin.readline():
        raise ArtifactError("EXAMPLE-06", "nobody said that the run's commitment is logged", "leave --hold out")


def main() -> None:
    """Run the program."""
    app(prog_name="digits")


if __name__ == "__main__":
    main()
