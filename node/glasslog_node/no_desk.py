"""The desk of a node whose member authors nothing (``seams.Desk``)."""

from __future__ import annotations

from glasslog_node.batches import Batch
from glasslog_node.errors import RequestError
from glasslog_node.seams import Receipt, Stage, SubmissionState


class NoDesk:
    """Takes no submissions, and says so."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def submit(self, batch: Batch, *, key: str | None) -> Receipt:  # noqa: ARG002 - refused whatever it holds
        """Refuse.

        Raises:
            RequestError: SUBMIT-10 (403), always.
        """
        fact = f"{self._name} is not admitted as an author"
        raise RequestError("SUBMIT-10", fact, "submit to the node of a member that is", status=403)

    def state(self, submission: str) -> SubmissionState | None:  # noqa: ARG002 - there are none
        """Return None: there are no submissions here."""
        return None

    async def wait(self, submission: str, stage: Stage) -> SubmissionState | None:  # noqa: ARG002 - there are none
        """Return None: there are no submissions here."""
        return None
