"""The example's training: the same to the last bit, recorded whole, replayed, refused clearly where it cannot be."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from glasslog.custody import verify_run
from glasslog.predicates.base import Predicate
from glasslog.predicates.dataset import Dataset
from glasslog.predicates.evaluation import Evaluation
from glasslog.predicates.evaluation_bar import EvaluationBar
from glasslog.predicates.model import Model
from glasslog.predicates.release import Release
from glasslog.predicates.training_run import TrainingRun
from glasslog.predicates.training_segment import TrainingSegment
from glasslog.predicates.values import HEAD, TENSORS
from glasslog.statement import from_json
from glasslog_lab.errors import ArtifactError
from glasslog_lab.example import data, digits, lying, training
from glasslog_lab.example.data import PIXELS, Digit, draw, load_digits, read_digits, write_digits
from glasslog_lab.example.perceptron import HIDDEN, SHAPES, Perceptron, Tensors, memories
from glasslog_lab.example.weights_file import read_tensors, write_tensors
from glasslog_lab.recorder.digests import content_root
from glasslog_lab.recorder.journal import read_journal
from glasslog_lab.weights.measuring import measure

STEPS, EVERY = 40, 20
BEACON = "ab" * 32
# What CPython 3.11 on x86-64 gives; anything else elsewhere would be a machine that does not compute as IEEE 754 says.
ROOT_AFTER_40_STEPS = "09a187e8f7d51488224da2110748003dd193d46b95a175108242f865e589785b"
KINDS: list[type[Predicate]] = [
    Dataset, Dataset, TrainingRun, EvaluationBar, TrainingSegment, TrainingSegment, Model, Evaluation, Release,
]  # fmt: skip


def call(*arguments: str, app: Any = digits.app) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "run"
    done = call("train", str(folder), "--steps", str(STEPS), "--every", str(EVERY))
    assert done.exit_code == 0, done.output
    return folder


# --- data -------------------------------------------------------------------------------------------


def test_the_data_is_the_file_that_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_train, to_test = load_digits()
    assert (len(to_train), len(to_test)) == (1_297, 500)
    assert {digit.label for digit in to_test} == set(range(10))
    altered = bytearray(data.FILE.read_bytes())
    altered[1_000] ^= 1
    (tmp_path / "digits.csv.gz").write_bytes(altered)
    monkeypatch.setattr(data, "FILE", tmp_path / "digits.csv.gz")
    with pytest.raises(ArtifactError, match=r"^EXAMPLE-01 .* Next: "):
        load_digits()
    monkeypatch.setattr(data, "FILE", tmp_path / "none")
    with pytest.raises(ArtifactError, match="EXAMPLE-01"):
        load_digits()


INK = st.lists(st.integers(0, 16), min_size=64, max_size=64).map(bytes)


@given(st.lists(st.builds(Digit, INK, st.integers(0, 9)), min_size=1, max_size=5))
def test_a_table_holds_what_was_written(tmp_path_factory: pytest.TempPathFactory, written: list[Digit]) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    write_digits(written, path)
    assert read_digits(path) == written


def alter(row: Callable[[list[str]], list[str]]) -> Callable[[list[list[str]]], list[list[str]]]:
    return lambda rows: [*rows[:-1], row(rows[-1])]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:1],
        lambda rows: [],
        lambda rows: rows[1:],
        lambda rows: [rows[0][::-1], *rows[1:]],
        alter(lambda row: row[1:]),
        alter(lambda row: [*row, "1"]),
        alter(lambda row: ["17", *row[1:]]),
        alter(lambda row: ["300", *row[1:]]),
        alter(lambda row: ["-1", *row[1:]]),
        alter(lambda row: ["x", *row[1:]]),
        alter(lambda row: ["", *row[1:]]),
        alter(lambda row: [*row[:-1], "10"]),
        alter(lambda row: ["5"]),
        alter(lambda row: []),
        alter(lambda row: ["é", *row[1:]]),
    ],
)
def test_another_table_is_refused(tmp_path: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    path = tmp_path / "t.csv"
    write_digits(load_digits()[1][:3], path)
    assert len(read_digits(path)) == 3
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(change(rows))
    with pytest.raises(ArtifactError, match=r"^EXAMPLE-02 .* Next: "):
        read_digits(path)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="EXAMPLE-02"):
        read_digits(tmp_path / "none")


def test_a_digit_is_drawn_with_denser_characters_for_more_ink() -> None:
    assert draw(Digit(bytes([0, 16] * 32), 1)) == ["  @@" * 4] * 8


# --- arithmetic -------------------------------------------------------------------------------------


def single(value: Fraction | float) -> Fraction:
    """Rounded to binary64 and then to binary32, each to nearest."""
    return Fraction(array("f", [float(value)])[0])


def exact_update(network: Perceptron, batch: list[Digit]) -> tuple[dict[str, list[Fraction]], Fraction]:
    """The gradients by rational arithmetic, rounded only where the program says it rounds; and the loss, unrounded."""
    weights = {name: [Fraction(value) for value in values] for name, values in network.parameters.items()}
    first = [weights["hidden.weight"][at : at + PIXELS] for at in range(0, HIDDEN * PIXELS, PIXELS)]
    second = [weights["output.weight"][at : at + HIDDEN] for at in range(0, 10 * HIDDEN, HIDDEN)]
    gradients = {name: [Fraction(0)] * len(values) for name, values in weights.items()}
    loss = Fraction(0)
    for digit in batch:
        x = [Fraction(ink, 16) for ink in digit.ink]
        h = [
            single(float(max(0, float(dot(row, x)) + float(bias))))
            for row, bias in zip(first, weights["hidden.bias"], strict=True)
        ]
        y = [single(float(dot(row, h)) + float(bias)) for row, bias in zip(second, weights["output.bias"], strict=True)]
        e = [single(out - (place == digit.label)) for place, out in enumerate(y)]
        back = [single(dot(e, [row[unit] for row in second])) if h[unit] else Fraction(0) for unit in range(HIDDEN)]
        loss += dot(e, e) / 2
        for unit in range(HIDDEN):
            gradients["hidden.bias"][unit] += back[unit]
            for pixel in range(PIXELS):
                gradients["hidden.weight"][unit * PIXELS + pixel] += back[unit] * x[pixel]
        for place in range(10):
            gradients["output.bias"][place] += e[place]
            for unit in range(HIDDEN):
                gradients["output.weight"][place * HIDDEN + unit] += e[place] * h[unit]
    return gradients, loss / len(batch)


def dot(one: list[Fraction], two: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(one, two, strict=True)), Fraction(0))


def test_an_update_is_what_exact_arithmetic_gives() -> None:
    batch = load_digits()[0][:4]  # a power of two: then dividing by it rounds nothing
    network = Perceptron.initial(7)
    before = {name: list(values) for name, values in network.parameters.items()}
    expected, loss = exact_update(network, batch)
    outcome = network.update(batch)
    assert outcome.loss == pytest.approx(float(loss), rel=1e-12)
    for name, gradient in outcome.gradients.items():
        assert list(gradient) == [float(single(one / len(batch))) for one in expected[name]]
        moved = [
            float(single(Fraction(old) - Fraction(new) / 8)) for old, new in zip(before[name], gradient, strict=True)
        ]
        assert list(network.parameters[name]) == moved


def test_gradients_are_the_slope_of_the_loss() -> None:
    batch = load_digits()[0][:8]
    network = Perceptron.initial(3)
    for _ in range(5):
        network.update(batch)
    gradients = Perceptron(dict(network.parameters), dict(network.momentum)).update(batch).gradients
    step = 2.0**-9
    for name, place in [("hidden.weight", 20), ("hidden.bias", 2), ("output.weight", 33), ("output.bias", 9)]:
        losses = list[float]()
        for sign in (1, -1):
            moved = {one: array("f", values) for one, values in network.parameters.items()}
            moved[name][place] += sign * step
            losses.append(Perceptron(moved, dict(network.momentum)).update(batch).loss)
        slope = (losses[0] - losses[1]) / (2 * step)
        assert slope == pytest.approx(gradients[name][place], rel=0.05, abs=2e-4)


def test_weights_are_the_same_in_every_process(tmp_path: Path) -> None:
    program = (
        "from glasslog_lab.example.training import *\nfrom glasslog_lab.example.data import load_digits\n"
        "t = Training(load_digits()[0], 40)\nfor s in range(1, 41): t.learn(t.batch(s))\n"
        "print(content_root(memories(t.network.parameters)).hex())"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.stdout.strip() == ROOT_AFTER_40_STEPS


# --- weights file -----------------------------------------------------------------------------------

BITS = st.integers(0, 2**32 - 1)


def tensors_of(words: list[int]) -> Tensors:
    filled = b"".join(word.to_bytes(4, "little") for word in words)
    found = Tensors()
    for name, shape in SHAPES.items():
        size = 4
        for length in shape:
            size *= length
        found[name] = array("f", (filled * (size // len(filled) + 1))[:size])
    return found


@given(st.lists(BITS, min_size=1, max_size=7))
def test_a_weights_file_holds_every_bit(tmp_path_factory: pytest.TempPathFactory, words: list[int]) -> None:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    tensors = tensors_of(words)
    write_tensors(path, tensors)
    assert {name: one.tobytes() for name, one in read_tensors(path).items()} == {
        name: one.tobytes() for name, one in tensors.items()
    }
    assert measure(path).content_root == content_root(memories(tensors))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: content[:7],
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content[:-4],
        lambda content: content + b"\0" * 4,
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content.replace(b'"F32"', b'"F\xff2"', 1),
        lambda content: content.replace(b"hidden.bias", b"hidden.bios", 1),
        lambda content: content.replace(b'"shape":[24]', b'"shape":[42]', 1),
        lambda content: content.replace(b'"data_offsets":[0,96]', b'"data_offsets":[0,92]', 1),
        lambda content: content.replace(b'"data_offsets":[0,96]', b'"data_offsets":"0,96"', 1),
        lambda content: (100_000).to_bytes(8, "little") + b"[" * 100_000,
        lambda content: (2).to_bytes(8, "little") + b"[]" + content,
        lambda content: (4).to_bytes(8, "little") + b"null",
    ],
)
def test_another_weights_file_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, tensors_of([0x3F800000]))
    content = path.read_bytes()
    assert change(content) != content
    path.write_bytes(change(content))
    with pytest.raises(ArtifactError, match=r"^EXAMPLE-03 .* Next: "):
        read_tensors(path)


# --- the whole --------------------------------------------------------------------------------------


def test_every_update_is_in_the_journal_and_ends_with_the_weights(trained: Path) -> None:
    journal = read_journal(trained / "digits.journal")
    end = verify_run(journal.chain.start, journal.segments)
    assert (end.counts.steps, end.counts.gaps, end.last_step, end.closed) == (STEPS, 0, STEPS, True)
    assert journal.end.every_update_committed
    assert [(one.first_step, one.last_step) for one, _ in journal.segments] == [(1, 20), (21, 40)]
    root = measure(trained / "digits.safetensors").content_root
    assert root == end.params
    assert root is not None
    assert root.hex() == ROOT_AFTER_40_STEPS
    for segment, _ in journal.segments:
        assert measure(trained / "states" / f"step-{segment.last_step:06d}.safetensors").content_root == segment.params


def test_the_statements_lead_from_the_data_to_the_release(trained: Path) -> None:
    files = sorted((trained / "statements").iterdir())
    stated = [from_json(file.read_bytes()) for file in files]
    assert [one["predicateType"] for one in stated] == [kind.type_uri() for kind in KINDS]
    said: list[Any] = [kind.read(one) for kind, one in zip(KINDS, stated, strict=True)]
    train, _, run, bar, first, last, model, evaluation, release = said
    journal = read_journal(trained / "digits.journal")
    assert run.datasets[0].digest == train.records_root.digest
    assert train.records_root.digest["glasslogRecordsV1"] == journal.chain.start.dataset
    assert first.previous_head.digest == {HEAD: journal.chain.start.run} == release.runs[0].digest
    assert last.previous_head == first.head
    assert last.params_root.digest[TENSORS] == model.content_root.digest[TENSORS]
    assert (evaluation.threshold, evaluation.metric) == (bar.threshold, bar.metric)
    assert float(evaluation.value) > 0.7


def test_a_replay_is_exact(trained: Path) -> None:
    done = call("replay", str(trained), "--beacon", BEACON, "--count", "2", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["state"], told["sampled"], told["detection"]) == (0, "exact", [1, 2], "1.0000")


@pytest.mark.parametrize("lie", [1, EVERY, EVERY + 1, 33])
def test_a_replay_finds_the_step_that_was_trained_otherwise(tmp_path: Path, lie: int) -> None:
    folder = tmp_path / "run"
    lying.train(folder, lie=lie, steps=STEPS, every=EVERY)
    assert read_journal(folder / "digits.journal").end.every_update_committed
    done = call("replay", str(folder), "--beacon", BEACON, "--count", "2", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["state"], told["first_diverged"]) == (1, "diverged", lie)


def test_a_replay_from_other_data_is_not_exact(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = read_journal(trained / "digits.journal")
    to_train = load_digits()[0]
    swapped = training.Training([to_train[1], to_train[0], *to_train[2:]], STEPS)
    with pytest.raises(ArtifactError, match=r"EXAMPLE-04 step .* committed to another batch"):
        list(training.replay_steps(swapped, trained / "states", journal, 1, STEPS))
    monkeypatch.setattr(training, "SEED", 2)
    other = training.Training(to_train, STEPS)
    with pytest.raises(ArtifactError, match="EXAMPLE-04 the run committed to another order"):
        list(training.replay_steps(other, trained / "states", journal, 1, STEPS))


def test_a_replay_without_a_state_says_so(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("digits.journal", "train.csv"):
        (folder / name).write_bytes((trained / name).read_bytes())
    done = call("replay", str(folder), "--beacon", BEACON, "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["state"]) == (1, "unable")
    assert "EXAMPLE-03" in told["reasons"][0]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--beacon", "xyz"], "REPLAY-03"),
        (["--beacon", BEACON, "--count", "3"], "REPLAY-01"),
        (["--beacon", BEACON, "--count", "0"], "REPLAY-01"),
    ],
)
def test_a_replay_that_cannot_be_is_one_line(trained: Path, options: list[str], code: str) -> None:
    done = call("replay", str(trained), *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{code} ")
    assert done.stderr.count("\n") == 1


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "mine", tmp_path / "mine" / "below"):
        done = call("train", str(folder), "--steps", "1")
        assert (done.exit_code, done.stderr[:11]) == (2, "EXAMPLE-05 "), done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["empty", "mine"]
    assert call("replay", str(tmp_path / "empty"), "--beacon", BEACON).stderr.startswith("RECORD-01 ")


def test_held_training_begins_when_told(tmp_path: Path) -> None:
    refused = CliRunner().invoke(digits.app, ["train", str(tmp_path / "a"), "--steps", "1", "--hold"], input="")
    assert (refused.exit_code, refused.stderr[:11]) == (2, "EXAMPLE-06 ")
    assert not list((tmp_path / "a" / "statements").glob("*segment*"))
    begun = CliRunner().invoke(digits.app, ["train", str(tmp_path / "b"), "--steps", "1", "--hold"], input="\n")
    assert begun.exit_code == 0
    assert "0 gaps" in begun.stdout
