"""The model the demonstration attests by default: a real one, small, and pinned by hash."""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from glasslog_node.errors import ConfigError

# FRaCAST's forecaster, Apache-2.0: 47 fp32 tensors in a wheel that is installed without its dependencies.
PACKAGE = "fracast"
FILE = "fracast/weights/model.safetensors"
FILE_SHA256 = "0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c"


def find_model(path: Path | None) -> Path:
    """Return the model to attest: *path*, a file or folder, or the pinned default.

    Raises:
        ConfigError: DEMO-01 there is none at *path*, DEMO-02 the default is not installed, DEMO-03 it was altered.
    """
    if path is not None:
        if not path.exists():
            raise ConfigError("DEMO-01", f"there is no {path}", "name a file or folder with --model")
        return path
    other = "name a model of your own with --model"
    try:
        found = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        raise ConfigError("DEMO-02", "the default model is not installed", f"deploy/run demo, or {other}") from None
    if not found.is_file() or sha256(found.read_bytes()).hexdigest() != FILE_SHA256:
        raise ConfigError("DEMO-03", f"{found} is not the file that is pinned", f"install it anew, or {other}")
    return found
