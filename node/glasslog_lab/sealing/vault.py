"""The vault: what a lab has sealed, kept so that it can be opened, and forgotten for good (specs/secrecy.md, X7).

``vault.key``        32 bytes, wraps the entries' keys
``keys/ID``          an entry's key, wrapped
``entries/ID``       the entry's secret and content, encrypted with that key
``tombstones.log``   what was erased, and when

ID is the SHA-256 of the sealed item, cut to 16 bytes, in hexadecimal. To erase an entry is to destroy its key: copies
of ``entries/`` are then unreadable wherever they are. So back up ``entries/`` freely and ``keys/`` never; escrow
``vault.key`` or single keys instead.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from glasslog import codec
from glasslog.bundle.fields import FieldContent, WholeContent, list_fields, seal_statement
from glasslog.bundle.opening import encode_openings
from glasslog.bundle.period import seal_period
from glasslog.bundle.sealed import FieldOpening, Opening
from glasslog.codec import ArrayReader
from glasslog.errors import ProtocolError
from glasslog.statement import Statement, decode_statement
from glasslog_lab.errors import ArtifactError
from glasslog_lab.sealing import private_files
from glasslog_lab.sealing.refusals import refusing

ENTRY_DOMAIN = "glasslog/vault-entry/v1"
_ENTRY_BYTES_MAX = 1 << 20
_KEY_BYTES_MAX = 1_024
_ID = re.compile(r"[0-9a-f]{32}")
_WHOLE, _FIELDS, _PERIOD = "whole", "fields", "period"


def name_item(item: bytes) -> str:
    """Return the ID of a sealed item. It tells nothing of the content: the item is salted."""
    return sha256(item).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry as the vault has it: its ID and content; of a period the sealed items of its members."""

    id: str
    form: str
    content: WholeContent | FieldContent
    statement: Statement | None
    members: tuple[bytes, ...] = ()

    def openings(self, names: list[str] | None) -> tuple[Opening, ...]:
        """Return what opens these fields, or all.

        Raises:
            ArtifactError: SEAL-25, there is no such field, or the statement was sealed whole.
        """
        if isinstance(self.content, WholeContent):
            if names:
                raise ArtifactError("SEAL-25", "the statement was sealed whole", "open all of it: name no field")
            return (self.content.opening,)
        with refusing():
            made: tuple[FieldOpening, ...] = self.content.openings(names or None)
        return made


class Vault:
    """A lab's vault on disk. Nothing in it is ever rewritten; one process at a time writes."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.path = path
        self._box = SecretBox(key)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty vault.

        Raises:
            ArtifactError: SEAL-24, something is there already, or it cannot be written.
        """
        for folder in (path, path / "keys", path / "entries"):
            private_files.make_folder(folder)
        private_files.write(path / "vault.key", secrets.token_bytes(32))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a vault.

        Raises:
            ArtifactError: SEAL-20, there is none, or others can read its key; SEAL-23, its key is none.
        """
        key = private_files.read(path / "vault.key", 64)
        if key is None:
            step = "make one: glasslog vault new; or restore its key: glasslog escrow join"
            raise ArtifactError("SEAL-20", f"{path} has no vault.key", step)
        if len(key) != 32:
            raise ArtifactError("SEAL-23", f"{path}/vault.key is not 32 bytes", "restore it: glasslog escrow join")
        return cls(path, key)

    @classmethod
    def restore(cls, path: Path, key: bytes) -> Self:
        """Give a vault that has lost it its key back.

        Raises:
            ArtifactError: SEAL-24.
        """
        for folder in (path, path / "keys", path / "entries"):
            private_files.make_folder(folder)
        private_files.write(path / "vault.key", key)
        return cls.open(path)

    def keep(self, statement: Statement, *, whole: bool = False) -> tuple[str, bytes]:
        """Seal a statement: keep it durably, then return its ID and the item for the node.

        Raises:
            ArtifactError: SEAL-02, SEAL-03 or STMT-nn, it cannot be sealed so; SEAL-24.
        """
        with refusing():
            content = seal_statement(statement, secrets.token_bytes(32), whole=whole)
            encoded = codec.encode(statement)
        form = _WHOLE if whole else _FIELDS
        return self._store(content, [ENTRY_DOMAIN, form, content.secret, encoded])

    def keep_period(self, items: list[bytes]) -> tuple[str, bytes]:
        """Seal what a period has, which may be nothing (X10).

        Raises:
            ArtifactError: SEAL-03, too many members; SEAL-24.
        """
        with refusing():
            content = seal_period(items, secrets.token_bytes(32))
        members: codec.Value = [*items]
        return self._store(content, [ENTRY_DOMAIN, _PERIOD, content.secret, codec.encode(members)])

    def read(self, name: str) -> Kept:
        """Return an entry.

        Raises:
            ArtifactError: SEAL-21 unknown, SEAL-22 erased, SEAL-23 damaged or of another vault.
        """
        wrapped = private_files.read(self._key_path(name), _KEY_BYTES_MAX)
        data = private_files.read(self.path / "entries" / name, _ENTRY_BYTES_MAX)
        if wrapped is None and name in self.erased():
            raise ArtifactError("SEAL-22", f"{name} was erased", "nothing can open it any more")
        if wrapped is None or data is None:
            raise ArtifactError("SEAL-21", f"the vault has no entry {name}", "glasslog vault list")
        try:
            kept = _decode_kept(name, SecretBox(self._box.decrypt(wrapped)).decrypt(data))
        except (CryptoError, ProtocolError, ValueError) as error:
            fact = f"entry {name} is damaged, or of another vault"
            raise ArtifactError("SEAL-23", fact, "restore the file from a backup") from error
        return kept

    def read_key(self, name: str) -> bytes:
        """Return the key of one entry, for escrow.

        Raises:
            ArtifactError: as ``read``.
        """
        self.read(name)
        return self._box.decrypt(private_files.read(self._key_path(name), _KEY_BYTES_MAX) or b"")

    def restore_key(self, name: str, key: bytes) -> None:
        """Give one entry its key back, out of escrow.

        Raises:
            ArtifactError: SEAL-24.
        """
        private_files.write(self._key_path(name), self._box.encrypt(key))

    @property
    def key(self) -> bytes:
        """The vault's key, for escrow."""
        return bytes(self._box)

    def erase(self, name: str, *, at: str) -> None:
        """Destroy an entry's key and then its content; ``at`` is the time for the tombstone (RFC 3339).

        The tombstone is written first: if this is cut short, doing it again ends it.

        Raises:
            ArtifactError: SEAL-21 unknown; SEAL-24.
        """
        if name not in self.erased():
            if not self._key_path(name).exists():
                raise ArtifactError("SEAL-21", f"the vault has no entry {name}", "glasslog vault list")
            private_files.append(self.path / "tombstones.log", f"{name} {at}")
        private_files.destroy(self._key_path(name))
        private_files.destroy(self.path / "entries" / name)

    def erased(self) -> dict[str, str]:
        """Return the IDs that were erased, each with its time."""
        data = private_files.read(self.path / "tombstones.log", 64 << 20) or b""
        lines = (line.split(" ") for line in data.decode("utf-8", "replace").splitlines())
        return {line[0]: line[1] for line in lines if len(line) == 2}

    def names(self) -> Iterator[str]:
        """Yield the IDs that can be opened."""
        gone = self.erased()
        for path in sorted((self.path / "keys").iterdir()):
            if _ID.fullmatch(path.name) and path.name not in gone:
                yield path.name

    def find(self, genesis_hash: bytes, author: str, number: int, commitment: bytes) -> Kept | None:
        """Return the entry that a sealed leaf commits to, None where it is not in this vault."""
        from glasslog.bundle.sealed import seal_item

        for name in self.names():
            kept = self.read(name)
            if seal_item(kept.content.item, genesis_hash, author, number) == commitment:
                return kept
        return None

    def _store(self, content: WholeContent | FieldContent, value: list[codec.Value]) -> tuple[str, bytes]:
        item = content.item
        name, key = name_item(item), secrets.token_bytes(32)
        private_files.write(self.path / "entries" / name, SecretBox(key).encrypt(codec.encode(value)))
        private_files.write(self._key_path(name), self._box.encrypt(key))
        return name, item

    def _key_path(self, name: str) -> Path:
        if not _ID.fullmatch(name):
            raise ArtifactError("SEAL-21", f"{name[:80]!r} is no ID of 32 hexadecimal digits", "glasslog vault list")
        return self.path / "keys" / name


def _decode_kept(name: str, data: bytes) -> Kept:
    reader = ArrayReader.parse(data, "vault entry", size_max=_ENTRY_BYTES_MAX)
    domain, form = reader.text("domain", most=64), reader.text("form", most=16)
    secret, encoded = reader.bytes("secret", exactly=32), reader.bytes("content", most=_ENTRY_BYTES_MAX)
    reader.end()
    if domain != ENTRY_DOMAIN or form not in (_WHOLE, _FIELDS, _PERIOD):
        raise ValueError("not a vault entry")
    if form == _PERIOD:
        listed = ArrayReader.parse(encoded, "members", size_max=_ENTRY_BYTES_MAX)
        members = tuple(listed.bytes("member", most=128) for _ in range(listed.left))
        kept = Kept(name, form, seal_period(members, secret), None, members)
    else:
        statement = decode_statement(encoded)
        content = WholeContent(secret, encoded) if form == _WHOLE else FieldContent(secret, list_fields(statement))
        kept = Kept(name, form, content, statement)
    if name_item(kept.content.item) != name:
        raise ValueError("the content is not what the ID names")
    return kept


def write_openings(path: Path, openings: tuple[Opening, ...]) -> None:
    """Write openings to a file of their own, private until its owner shares it.

    Raises:
        ArtifactError: SEAL-24.
    """
    private_files.write(path, encode_openings(openings))
