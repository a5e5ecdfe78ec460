"""From the protocol's refusals to a lab's: the same code and fact, and what to do next."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from glasslog.errors import ProtocolError
from glasslog_lab.errors import ArtifactError

NEXT_STEPS = {
    "SEAL-02": "seal the statement whole: --whole",
    "SEAL-03": "seal the statement whole: --whole",
    "SEAL-04": "ask the author for the openings of this very entry",
    "SEAL-05": "ask the author for the openings of this very entry",
    "SEAL-06": "get the file again from whoever made it",
    "SEAL-07": "use the key that the file was made for, or get it again",
    "SEAL-08": "name a key file that `glasslog reader-key` wrote",
    "SEAL-09": "get the file again from whoever made it",
    "SEAL-10": "get this share again from its custodian",
    "SEAL-11": "join the shares of one escrow, each once",
    "SEAL-12": "ask more custodians for their shares",
    "SEAL-13": "leave one share out at a time: one of them is wrong",
    "SEAL-14": "mend the bar",
    "SEAL-15": "ask the author for the openings of this very entry",
    "SEAL-25": "choose from the names that `glasslog opening ID` lists",
    "BUNDLE-08": "name the bundle of this very entry: glasslog prove",
}


@contextmanager
def refusing() -> Generator[None]:
    """Turn a ``ProtocolError`` into the ``ArtifactError`` that a lab's commands print."""
    try:
        yield
    except ProtocolError as error:
        step = NEXT_STEPS.get(error.code, "correct the input")
        raise ArtifactError(error.code, error.fact, step) from error
