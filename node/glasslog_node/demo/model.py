"""A model of the user's own, to attest instead of training one."""

from __future__ import annotations

from pathlib import Path

from glasslog_node.errors import ConfigError


def check_model(path: Path | None) -> Path | None:
    """Return the file or folder to attest, None where a model is to be trained.

    Raises:
        ConfigError: DEMO-01 there is none at *path*.
    """
    if path is not None and not path.exists():
        raise ConfigError("DEMO-01", f"there is no {path}", "name a file or folder with --model")
    return path
