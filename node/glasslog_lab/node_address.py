"""Which node is meant, and what lets a client write to it: an address and a token, or the node's configuration file."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from glasslog_lab.errors import ArtifactError

UNIX_PREFIX = "unix:"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{20,512}")
_FILE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """``http://HOST:PORT`` or ``unix:PATH``, and the bearer token, None where there is none to be sent."""

    url: str
    token: str | None = field(default=None, repr=False)


def find_node(node: str, token_file: Path | None = None) -> NodeAddress:
    """Return the node that a person named: by address, or by the path of its configuration.

    Raises:
        ArtifactError: CLIENT-03 it is neither; CLIENT-06 the token's file is missing, open to others or no token.
    """
    if node.startswith((UNIX_PREFIX, "http://", "https://")):
        return NodeAddress(node, None if token_file is None else _read_token(token_file))
    path = Path(node)
    try:
        with path.open("rb") as file:
            table: dict[str, object] = tomllib.loads(file.read(_FILE_BYTES_MAX).decode())
        http = cast("dict[str, object]", table["http"])
        bind, token = str(http["bind"]), str(http.get("token_file", "token"))
    except OSError as error:
        fact = f"{node} is no address, and no file: {(error.strerror or str(error)).lower()}"
        raise ArtifactError("CLIENT-03", fact, "give http://HOST:PORT, unix:PATH or the node's config.toml") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError("CLIENT-03", f"{node} is no node's configuration", "give its config.toml") from error
    base = path.absolute().parent
    unix = bind.startswith(UNIX_PREFIX)
    url = UNIX_PREFIX + str(base / bind[len(UNIX_PREFIX) :]) if unix else f"http://{bind}"
    return NodeAddress(url, _read_token(token_file or base / token))


def _read_token(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise ArtifactError("CLIENT-06", f"others can read the token in {path}", f"chmod 600 {path}")
            token = file.read(1024).decode("ascii", "replace").strip()
    except OSError as error:
        fact = f"the token's file {path} cannot be read: {(error.strerror or str(error)).lower()}"
        raise ArtifactError("CLIENT-06", fact, "give the node's token file with --token-file") from error
    if not _TOKEN.fullmatch(token):
        raise ArtifactError("CLIENT-06", f"{path} holds no token", "give the node's token file with --token-file")
    return token
