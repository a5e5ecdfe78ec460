"""Key files: one secret seed per purpose, readable by its owner only (specs/threat-model.md, T6).

Three lines of text::

    glasslog-key/v1 vote institute-de.example
    <the 32-byte seed as 64 hexadecimal digits>
    <first 8 bytes of SHA-256 over the two lines above, hexadecimal>

A form of our own and not PEM: PKCS#8 states an algorithm but no purpose, and the costly mistake here is a vote
key used as a log key, or a neighbour's folder. The checksum makes a truncated or mistyped file a refusal;
without it half of a key is silently another key.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from pathlib import Path

from glasslog_node.errors import ConfigError

SEED_BYTES = 32
SECRET_FILE_BYTES_MAX = 4_096
_MAGIC = "glasslog-key/v1"
_SEED = re.compile(r"[0-9a-f]{64}")


class Purpose(Enum):
    """What a key may be used for. Ed25519, except those that say ``MLDSA44``."""

    NETWORK = "network"
    VOTE = "vote"
    LOG = "log"
    COSIGN_ED25519 = "cosign-ed25519"
    COSIGN_MLDSA44 = "cosign-mldsa44"
    AUTHOR = "author"
    GOVERNANCE = "governance"
    EXAMINER = "examiner"
    EXAMINER_MLDSA44 = "examiner-mldsa44"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key file's content. ``seed`` is kept out of every repr, and so out of logs and tracebacks."""

    purpose: Purpose
    owner: str
    seed: bytes = field(repr=False)


def key_path(folder: Path, purpose: Purpose) -> Path:
    """Return where the key for this purpose lies in a keys folder."""
    return folder / f"{purpose.value}.key"


def encode_key(key: SecretKey) -> str:
    """Return the text of a key file."""
    head = f"{_MAGIC} {key.purpose.value} {key.owner}\n{key.seed.hex()}\n"
    return f"{head}{_checksum(head)}\n"


def decode_key(text: str, path: Path) -> SecretKey:
    """Return the key in this text; ``path`` is for messages only.

    Raises:
        ConfigError: KEY-04, not one whole, unaltered key file.
    """
    damaged = "restore the file from its backup; where there is none, the key is lost and must be rotated"
    lines = text.split("\n")
    words = lines[0].split(" ")
    if words[0] != _MAGIC:
        raise ConfigError("KEY-04", f"{path} is not a key file of this version", damaged)
    if len(lines) != 4 or lines[3] or len(words) != 3 or not _SEED.fullmatch(lines[1]):
        raise ConfigError("KEY-04", f"{path} is truncated or was edited", damaged)
    if lines[2] != _checksum(f"{lines[0]}\n{lines[1]}\n"):
        raise ConfigError("KEY-04", f"{path} does not match its own checksum", damaged)
    try:
        purpose = Purpose(words[1])
    except ValueError:
        raise ConfigError("KEY-04", f"{path} names an unknown purpose", damaged) from None
    return SecretKey(purpose, words[2], bytes.fromhex(lines[1]))


def create_keys_folder(folder: Path) -> None:
    """Create a folder that only its owner can enter, or check that an existing one is such.

    Raises:
        ConfigError: KEY-03 open to others, KEY-08 cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError("KEY-08", f"{folder} cannot be created: {e.strerror}", "choose another keys folder") from e
    check_private_folder(folder)


def create_key(folder: Path, purpose: Purpose, owner: str) -> SecretKey:
    """Make a new key and write its file, mode 0600, synced to disk. Never overwrites.

    Raises:
        ConfigError: KEY-03, KEY-07 the file exists, KEY-08 it cannot be written.
    """
    create_keys_folder(folder)
    key = SecretKey(purpose, owner, secrets.token_bytes(SEED_BYTES))
    write_private_file(key_path(folder, purpose), encode_key(key))
    return key


def read_key(folder: Path, purpose: Purpose, owner: str) -> SecretKey:
    """Return the key for this purpose, which must name this owner.

    Raises:
        ConfigError: KEY-01 missing, KEY-02 or KEY-03 open to others, KEY-04 damaged, KEY-05 another purpose,
            KEY-06 another owner, KEY-08 unreadable.
    """
    check_private_folder(folder)
    path = key_path(folder, purpose)
    key = decode_key(read_private_file(path), path)
    if key.purpose is not purpose:
        raise ConfigError(
            "KEY-05",
            f"{path} holds a {key.purpose.value} key, not a {purpose.value} key",
            f"put the {purpose.value} key there",
        )
    if key.owner != owner:
        raise ConfigError(
            "KEY-06", f"{path} is a key of {key.owner}, not of {owner}", "check `name` and `keys` in the configuration"
        )
    return key


def check_private_folder(folder: Path) -> None:
    """Refuse a folder that others could read or exchange files in.

    Raises:
        ConfigError: KEY-01 missing, KEY-03 open to others.
    """
    try:
        mode = folder.stat().st_mode
    except OSError as e:
        raise ConfigError("KEY-01", f"{folder}: {_reason(e)}", "check `keys` in the configuration") from e
    if not stat.S_ISDIR(mode):
        raise ConfigError("KEY-01", f"{folder} is not a folder", "check `keys` in the configuration")
    if mode & 0o077:
        raise ConfigError("KEY-03", f"{folder} is open to others (mode {mode & 0o777:04o})", f"chmod 700 {folder}")


def read_private_file(path: Path) -> str:
    """Return the text of a small secret file that only its owner can read.

    Raises:
        ConfigError: KEY-01 missing, KEY-02 readable by others, KEY-04 not text, KEY-08 unreadable.
    """
    try:
        # The mode is asked of the open file, not of the name, so that nothing can be exchanged in between;
        # O_NONBLOCK, or a FIFO in a key's place would hang the start.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - opens a descriptor
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError("KEY-08", f"{path} is not a regular file", "put the key file itself there")
            if mode & 0o077:
                fact = f"{path} is readable by others (mode {mode & 0o777:04o})"
                raise ConfigError("KEY-02", fact, f"chmod 600 {path}, and rotate the key if others had access")
            data = file.read(SECRET_FILE_BYTES_MAX + 1)
    except FileNotFoundError as e:
        raise ConfigError("KEY-01", f"{path} does not exist", "restore it, or check `keys` in the configuration") from e
    except OSError as e:
        raise ConfigError("KEY-08", f"{path} cannot be read: {_reason(e)}", "check its owner and mode") from e
    if len(data) > SECRET_FILE_BYTES_MAX or not data.isascii():
        raise ConfigError("KEY-04", f"{path} is not a key or token file", "restore the file from its backup")
    return data.decode("ascii")


def write_private_file(path: Path, text: str) -> None:
    """Create a file of mode 0600 with this text, synced to disk with its folder. Never overwrites.

    Raises:
        ConfigError: KEY-07 exists, KEY-08 cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - opens a descriptor
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as e:
        raise ConfigError("KEY-07", f"{path} exists already", "keep it, or move it away first") from e
    except OSError as e:
        raise ConfigError("KEY-08", f"{path} cannot be written: {_reason(e)}", "check the folder and the disk") from e


def _checksum(head: str) -> str:
    return sha256(head.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def decode_token(text: str, path: Path) -> str:
    """Return the bearer token in a token file: one line of at least 20 characters.

    Raises:
        ConfigError: KEY-04.
    """
    token = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{20,512}", token):
        fact = f"{path} does not hold one token of 20 to 512 characters"
        raise ConfigError("KEY-04", fact, "put `openssl rand -hex 32` there, mode 0600")
    return token
