"""A log over HTTP: a node's public interface, or any static mirror."""

from __future__ import annotations

import http.client
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from glasslog_node.errors import NetworkError
from glasslog_node.sources.tlog import TlogSource

TIMEOUT_SECONDS = 30.0
_NEXT = "check the address, or audit a copy of the replica"


class LogAddress(TlogSource):
    """Reads the paths below an ``http`` or ``https`` address."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix("/checkpoint")
        if self.checkpoint() is None:
            raise NetworkError("SOURCE-03", f"{self._url} has no published checkpoint", _NEXT)

    @property
    def label(self) -> str:
        """The address."""
        return self._url

    def read(self, path: str, *, size_max: int) -> bytes | None:
        """Return what is served at a path; None where the answer is 404 or 410.

        Raises:
            NetworkError: SOURCE-02, it cannot be had.
        """
        url = f"{self._url}/{path}"
        request = Request(url, headers={"user-agent": "glasslog-audit"})  # noqa: S310 - open_source saw http or https
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the same
                return bytes(answer.read(size_max + 1))
        except HTTPError as e:
            with e:
                if e.code in (404, 410):
                    return None
                raise NetworkError("SOURCE-02", f"{url} answered {e.code}", _NEXT) from e
        except (URLError, OSError, ValueError, http.client.HTTPException) as e:
            reason = str(getattr(e, "reason", e)).lower()
            raise NetworkError("SOURCE-02", f"{url} cannot be read: {reason}", _NEXT) from e
