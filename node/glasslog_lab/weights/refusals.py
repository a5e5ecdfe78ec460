"""One line for whatever a container has wrong with it: a code, what is wrong, what to do (K10)."""

from __future__ import annotations

from typing import NoReturn

from glasslog_lab.errors import ArtifactError

_WRITE_ANEW = "write the file anew with a current library of its format, fetch it again, or give --as-files"
_NEXT_STEPS = {
    "FILE-01": "check the path and its mode",
    "FILE-02": "copy what it leads to into the folder, or give --follow-links for links to files",
    "FILE-03": "take it out of the folder",
    "FILE-04": "rename the file",
    "FILE-05": "wait until nothing writes to it",
    "INDEX": "fetch or write the index and its shards anew, all of one version",
    "MODEL-01": "attest each by its own path, or name the file that is meant with --main",
    "MODEL-02": "name one that does",
    "MODEL-04": "leave --digest out",
    "WEIGHTS-05": "give the weights themselves, or their tensor list, for both",
    "WEIGHTS-06": "read the names with --tensors FILE of `attest model`",
    "WEIGHTS-07": "give weights, a tensor list or a statement about a model",
    "WEIGHTS-08": "name a place that can be written to",
    "WEIGHTS-09": "give the glasslogTensorsV1 digest of the statement, 64 hexadecimal digits",
    "WEIGHTS-15": "write fewer tensors per file, or attest the parts apart",
    "WEIGHTS-16": "save it as plain dense tensors (for PyTorch: a state_dict of contiguous ones), or give --as-files",
    "WEIGHTS-17": "save each tensor on its own, not as a view of another, or give --as-files",
    "WEIGHTS-43": "put all parts into one folder under the names they were written with",
}


def refusal(code: str, fact: str) -> ArtifactError:
    """Return the error for a container that is not what it claims to be."""
    step = _NEXT_STEPS.get(code) or _NEXT_STEPS.get(code.partition("-")[0]) or _WRITE_ANEW
    return ArtifactError(code, fact, step)


def refuse(code: str, fact: str) -> NoReturn:
    """Raise that error."""
    raise refusal(code, fact)


def quote(name: object) -> str:
    """Return a stranger's name as a short printable text."""
    text = ascii(name) if not isinstance(name, str) or not name.isprintable() else repr(name)
    return text if len(text) <= 100 else text[:97] + "..."
