"""A perceptron with one hidden layer, trained by gradient descent with momentum, the same to the last bit anywhere.

Every number that is kept is a binary32; computation in between is binary64. Nothing is used but what IEEE 754 leaves
no choice in: products, sums and comparisons, and ``math.fsum``, whose result is the exact sum rounded once. A product
of two binary32 is exact in binary64, so each dot product is exact before its rounding, in whichever order. (The
built-in ``sum`` rounds otherwise from Python 3.12 on.) No function of libm: ReLU, and squared error, not a softmax.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import fsum
from operator import mul
from typing import NamedTuple

from glasslog_lab.example.data import CLASSES, PIXELS, Digit
from glasslog_lab.recorder import Memory

HIDDEN = 24
LEARNING_RATE = 0.125
MOMENTUM = 0.875
SHAPES: dict[str, tuple[int, ...]] = {
    "hidden.bias": (HIDDEN,),
    "hidden.weight": (HIDDEN, PIXELS),
    "output.bias": (CLASSES,),
    "output.weight": (CLASSES, HIDDEN),
}
PARAMETERS = HIDDEN + HIDDEN * PIXELS + CLASSES + CLASSES * HIDDEN

Tensors = dict[str, "array[float]"]  # of binary32, row-major, by name


class Outcome(NamedTuple):
    """What one update did: its gradients, the mean loss of its batch before it, and how many were right then."""

    gradients: Tensors
    loss: float
    right: int


@dataclass(slots=True)
class Perceptron:
    """The parameters, and the momentum that the next update starts from."""

    parameters: Tensors
    momentum: Tensors

    @classmethod
    def initial(cls, seed: int) -> Perceptron:
        """Return the network before its first update: weights uniform in plus or minus 1/8 or 1/4, no biases."""
        parameters = {name: array("f", bytes(4 * size_of(shape))) for name, shape in SHAPES.items()}
        for name, bound in (("hidden.weight", 0.125), ("output.weight", 0.25)):
            for place in range(len(parameters[name])):
                drawn = int.from_bytes(sha256(f"{seed} {name} {place}".encode()).digest()[:3], "big")
                parameters[name][place] = bound * (drawn / (1 << 23) - 1)
        return cls(parameters, {name: array("f", bytes(4 * size_of(shape))) for name, shape in SHAPES.items()})

    def answer(self, digit: Digit) -> int:
        """Return which digit it is taken for: the greatest output, the first of equal ones."""
        outputs = self._outputs(self._hidden(digit.pixels))
        return outputs.index(max(outputs))

    def update(self, batch: Sequence[Digit]) -> Outcome:
        """Do one step of gradient descent on the mean over ``batch`` of half the squared error."""
        inputs = [digit.pixels for digit in batch]
        hidden = [self._hidden(pixels) for pixels in inputs]
        outputs = [self._outputs(activity) for activity in hidden]
        errors = [
            _round([output - (place == digit.label) for place, output in enumerate(one)])
            for one, digit in zip(outputs, batch, strict=True)
        ]
        gradients = self._gradients(inputs, hidden, errors)
        self._descend(gradients)
        loss = fsum(error * error for one in errors for error in one) / (2 * len(batch))
        right = sum(one.index(max(one)) == digit.label for one, digit in zip(outputs, batch, strict=True))
        return Outcome(gradients, loss, right)

    def _hidden(self, pixels: Sequence[float]) -> list[float]:
        bias = self.parameters["hidden.bias"]
        sums = [fsum(map(mul, row, pixels)) for row in _rows(self.parameters["hidden.weight"], PIXELS)]
        return _round([max(0.0, total + bias[place]) for place, total in enumerate(sums)])

    def _outputs(self, hidden: Sequence[float]) -> list[float]:
        bias = self.parameters["output.bias"]
        sums = [fsum(map(mul, row, hidden)) for row in _rows(self.parameters["output.weight"], HIDDEN)]
        return _round([total + bias[place] for place, total in enumerate(sums)])

    def _gradients(
        self, inputs: Sequence[Sequence[float]], hidden: list[list[float]], errors: list[list[float]]
    ) -> Tensors:
        columns = list(zip(*_rows(self.parameters["output.weight"], HIDDEN), strict=True))
        back = [
            _round(
                [fsum(map(mul, error, column)) if active else 0.0 for column, active in zip(columns, one, strict=True)]
            )
            for error, one in zip(errors, hidden, strict=True)
        ]
        count = len(inputs)
        of_outputs, of_hidden = list(zip(*errors, strict=True)), list(zip(*back, strict=True))
        into_outputs, into_hidden = list(zip(*hidden, strict=True)), list(zip(*inputs, strict=True))
        return {
            "hidden.bias": array("f", [fsum(one) / count for one in of_hidden]),
            "hidden.weight": array("f", [fsum(map(mul, one, two)) / count for one in of_hidden for two in into_hidden]),
            "output.bias": array("f", [fsum(one) / count for one in of_outputs]),
            "output.weight": array(
                "f", [fsum(map(mul, one, two)) / count for one in of_outputs for two in into_outputs]
            ),
        }

    def _descend(self, gradients: Tensors) -> None:
        for name, gradient in gradients.items():
            moved = array("f", [MOMENTUM * old + new for old, new in zip(self.momentum[name], gradient, strict=True)])
            kept = self.parameters[name]
            self.momentum[name] = moved
            self.parameters[name] = array("f", [old - LEARNING_RATE * by for old, by in zip(kept, moved, strict=True)])


def measure_accuracy(network: Perceptron, digits: Sequence[Digit]) -> int:
    """Return how many of ``digits`` the network takes for what they are."""
    return sum(network.answer(digit) == digit.label for digit in digits)


def memories(tensors: Tensors) -> list[Memory]:
    """Return tensors as the recorder takes them: their bytes little-endian."""
    return [Memory(name, "F32", SHAPES[name], to_bytes(values)) for name, values in tensors.items()]


def batch_memories(batch: Sequence[Digit]) -> list[Memory]:
    """Return a batch as the recorder takes it: what its images are and what they show, in their order."""
    ink = b"".join(digit.ink for digit in batch)
    return [
        Memory("ink", "U8", (len(batch), PIXELS), ink),
        Memory("labels", "U8", (len(batch),), bytes(digit.label for digit in batch)),
    ]


def to_bytes(values: array[float]) -> bytes:
    """Return binary32 values little-endian, as safetensors and content roots have them."""
    if sys.byteorder == "big":
        values = array("f", values)
        values.byteswap()
    return values.tobytes()


def from_bytes(data: bytes) -> array[float]:
    """Return the values of little-endian binary32."""
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _rows(values: array[float], width: int) -> list[array[float]]:
    return [values[start : start + width] for start in range(0, len(values), width)]


def _round(values: list[float]) -> list[float]:
    """Round to binary32, to nearest and to even, as the conversion to it does."""
    return array("f", values).tolist()


def size_of(shape: tuple[int, ...]) -> int:
    """Return how many elements a tensor of this shape has."""
    size = 1
    for length in shape:
        size *= length
    return size
