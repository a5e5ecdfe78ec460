"""The example as a liar would run it: one step learns from wrong labels, and what is recorded says nothing of it.

Every record, head and statement is consistent. Doing the steps again shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from glasslog_lab.example.data import CLASSES, Digit
from glasslog_lab.example.digits import Folder, Json, Pipeline, run_pipeline, say_json, say_line
from glasslog_lab.example.perceptron import Outcome
from glasslog_lab.example.training import Training


@dataclass(slots=True)
class LyingTraining(Training):
    """Learns from other labels than it commits to at the step ``lie``."""

    lie: int = 0
    learned: int = 0

    def learn(self, batch: Sequence[Digit]) -> Outcome:
        """Update the network once, at one step with every label off by one."""
        self.learned += 1
        if self.learned == self.lie:
            batch = [Digit(digit.ink, (digit.label + 1) % CLASSES) for digit in batch]
        return Training.learn(self, batch)


def train(
    folder: Folder,
    lie: Annotated[int, typer.Option(help="The step that learns from wrong labels.")],
    steps: Annotated[int, typer.Option(min=1, help="How many updates.")],
    every: Annotated[int, typer.Option(min=1, help="Steps to a segment.")],
    json: Json = False,
) -> None:
    """Train as the example does, but for one step."""

    def make(digits: list[Digit], count: int) -> Training:
        return LyingTraining(digits, count, lie=lie)

    run_pipeline(Pipeline(folder, say_json if json else say_line, steps, every, make), hold=False)


if __name__ == "__main__":
    typer.run(train)
