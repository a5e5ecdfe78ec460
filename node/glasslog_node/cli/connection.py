"""How commands reach a node: by its configuration file, or by address and token file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from glasslog_node.config import UNIX_PREFIX, load_config
from glasslog_node.errors import RequestError
from glasslog_node.keys import decode_token, read_private_file

CONFIG_HELP = "The node's configuration file."
URL_HELP = "The node's address instead: http://127.0.0.1:8001 or unix:/path."
TOKEN_HELP = "With --url: the file that holds the node's token."  # noqa: S105 - a line of help


class NodeClient:
    """Asks one node. Every failure is a ``RequestError`` that says whose it is."""

    def __init__(self, address: str, token: str | None, *, timeout: float = 30.0) -> None:
        self._address = address
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        if address.startswith(UNIX_PREFIX):
            transport = httpx.HTTPTransport(uds=address[len(UNIX_PREFIX) :])
            self._client = httpx.Client(base_url="http://node", transport=transport, timeout=timeout, headers=headers)
        else:
            # A proxy from the environment would see the token, and cannot reach loopback anyway.
            self._client = httpx.Client(base_url=address, timeout=timeout, headers=headers, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, *, timeout: float | None = None) -> httpx.Response:
        """Return the answer to a GET.

        Raises:
            RequestError: the node's own problem document, or CLIENT-01, it does not answer.
        """
        return self._checked("GET", path, timeout=timeout)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Return the answer to a POST; errors as ``get``."""
        return self._checked("POST", path, content=body, headers=headers)

    def _checked(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        limit = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        try:
            response = self._client.request(method, path, content=content, headers=headers, timeout=limit)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as e:
            fact = f"no answer from {self._address}: {str(e) or type(e).__name__}"
            raise RequestError("CLIENT-01", fact, "check that the node runs: glasslog status", status=0) from e
        if response.status_code >= 400:
            raise _problem(response, self._address)
        return response


def connect(config: Path | None, url: str | None, token_file: Path | None, *, write: bool = False) -> NodeClient:
    """Return a client for the node that a command's options name; errors as ``locate``."""
    return NodeClient(*locate(config, url, token_file, write=write))


def locate(
    config: Path | None, url: str | None, token_file: Path | None, *, write: bool = True
) -> tuple[str, str | None]:
    """Return the address and the token of the node that a command's options name; no token unless for writing.

    Raises:
        RequestError: CLIENT-03, the options name no node.
        ConfigError: the configuration or the token cannot be read.
    """
    if (config is None) == (url is None):
        raise RequestError("CLIENT-03", "name one node", "pass --config FILE, or --url and --token-file", status=0)
    if config is not None:
        settings = load_config(config)
        bind = settings.http.bind
        address = bind if bind.startswith(UNIX_PREFIX) else f"http://{bind}"
        return address, read_token(settings.token_path) if write else None
    return url or "", None if token_file is None else read_token(token_file)


def read_token(path: Path) -> str:
    """Return the bearer token in a private file.

    Raises:
        ConfigError: KEY-01 missing, KEY-02 readable by others, KEY-04 not a token.
    """
    return decode_token(read_private_file(path), path)


def _problem(response: httpx.Response, address: str) -> RequestError:
    try:
        value: dict[str, Any] = json.loads(response.content)
        return RequestError(str(value["code"]), str(value["fact"]), str(value["next"]), status=response.status_code)
    except (ValueError, TypeError, KeyError):
        fact = f"{address} answered {response.status_code}, not as a glasslog node does"
        return RequestError("CLIENT-02", fact, "check the address", status=response.status_code)
