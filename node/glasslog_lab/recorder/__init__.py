"""Records every update of a training in a chain that others can verify (specs/custody.md)."""

from glasslog.custody import Level
from glasslog_lab.recorder.digests import Memory
from glasslog_lab.recorder.recording import Recorder

__all__ = ["Level", "Memory", "Recorder"]
