"""What a lab's own files can have wrong with them: a code, a fact and what to do next."""

from __future__ import annotations


class ArtifactError(Exception):
    """A file or folder cannot be attested as it is; nothing was written or sent."""

    def __init__(self, code: str, fact: str, next_step: str) -> None:
        super().__init__(f"{code} {fact}. Next: {next_step}")
        self.code = code
        self.fact = fact
        self.next_step = next_step
