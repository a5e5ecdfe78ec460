"""What is fuzzed: one parser, the faults it may answer with, and what must hold of whatever it accepts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from glasslog import codec
from glasslog.errors import DecodeError, ProtocolError

Mutator = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Target:
    """``run`` returns where the input was accepted and all that must hold of it did, raises one of ``allowed`` where
    it was refused; anything else it raises is a finding. ``weight`` is its share of a campaign's time."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    allowed: tuple[type[Exception], ...] = (ProtocolError,)
    tokens: tuple[bytes, ...] = ()
    mutators: tuple[Mutator, ...] = ()
    size_max: int = 4_096
    weight: float = 1.0

    def accepts(self, data: bytes) -> bool:
        """Run once: whether the input was accepted. Raises whatever is a finding."""
        try:
            self.run(data)
        except self.allowed:
            return False
        return True


@contextmanager
def accepted() -> Generator[None]:
    """What follows must hold of an input that was accepted: a refusal within it is a finding."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"accepted, and then {type(error).__name__}: {error}") from error


def fields(data: bytes, *kinds: type) -> list[codec.Value]:
    """Cut the input of a target that takes several: one CBOR array, an item for each of ``kinds``.

    Raises DecodeError where it is not that, which every such target allows.
    """
    value = codec.decode(data, size_max=1 << 22)
    if not isinstance(value, list) or len(value) != len(kinds):
        raise DecodeError("FUZZ-01", "not the fields of this target")
    for item, kind in zip(value, kinds, strict=True):
        if type(item) is not kind:
            raise DecodeError("FUZZ-01", "a field of another type")
    return value


def texts(value: codec.Value) -> list[bytes]:
    """Return the byte strings of a list that is to hold nothing else."""
    if not isinstance(value, list) or not all(isinstance(item, bytes) for item in value):
        raise DecodeError("FUZZ-01", "not a list of byte strings")
    return [item for item in value if isinstance(item, bytes)]
