"""What a ledger says, by who said it: statements of our predicates, found by id and by subject (Q4).

Filled while an audit reads the leaves, so that no statement is judged whose leaf was not hashed into the audited root.
Leaves are kept as bytes and read when a rule asks, since a ledger has more of them than memory has room for objects.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Generic, TypeVar, cast

from glasslog.audit.source import Run
from glasslog.audit.walk import ClosedHeight
from glasslog.entry import Genesis, SealedEntry, StatementEntry, decode_leaf
from glasslog.errors import ProtocolError
from glasslog.membership import Membership
from glasslog.predicates.base import Predicate, Subject, list_subjects
from glasslog.predicates.values import HEAD, RECORDS, SEALED, STATEMENT, TENSORS, Commitment, Resource
from glasslog.predicates.vocabulary import BY_TYPE
from glasslog.statement import Statement, decode_statement
from glasslog.tiles import split_entries

_OURS = b"urn:glasslog:predicate:"
_SEALED, _STATEMENT = b"\x84\x01", b"\x84\x00"
_CACHED = 4_096

P = TypeVar("P", bound=Predicate)
P_co = TypeVar("P_co", bound=Predicate, covariant=True)


@dataclass(frozen=True, slots=True)
class Claim(Generic[P_co]):
    """One statement of ours in the log.

    ``number`` is its author's entry number; ``time`` that of the height it stands in, in milliseconds since 1970: the
    validators agreed that it was stated by then.
    """

    index: int
    author: str
    number: int
    time: int
    id: bytes
    subjects: tuple[Subject, ...]
    said: P_co

    @property
    def day(self) -> str:
        """The day (UTC, ``YYYY-MM-DD``) it was stated by."""
        return day_of(self.time)

    def digest(self, algorithm: str) -> bytes | None:
        """Return the first of its subjects' digests of one algorithm."""
        found = self.digests(algorithm)
        return found[0] if found else None

    def digests(self, algorithm: str) -> list[bytes]:
        """Return its subjects' digests of one algorithm."""
        found = [one.digest.get(algorithm) for one in self.subjects]
        return [digest for digest in found if isinstance(digest, bytes)]


def day_of(time: int) -> str:
    """Return the day (UTC, ``YYYY-MM-DD``) of a time in milliseconds since 1970.

    Days are counted in eras of 400 years that begin on 1 March (H. Hinnant, "chrono-compatible low-level date
    algorithms", civil_from_days): the protocol asks no clock and needs no time zone.
    """
    era, day_of_era = divmod(time // 86_400_000 + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day, month = day_of_year - (153 * shifted + 2) // 5 + 1, shifted + 3 if shifted < 10 else shifted - 9
    return f"{era * 400 + year_of_era + (month <= 2):04d}-{month:02d}-{day:02d}"


@dataclass(slots=True)
class Claims:
    """All statements of our predicates in a ledger, in its order; only those below leaf ``up_to`` where that is given.

    ``sealed`` has every sealed entry's index by author and commitment, ``opened`` what authors say they open.
    """

    up_to: int | None = None
    membership: Membership | None = None
    unreadable: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    sealed: dict[tuple[str, bytes], int] = field(default_factory=dict[tuple[str, bytes], int])
    opened: set[tuple[str, bytes]] = field(default_factory=set[tuple[str, bytes]])
    others: int = 0
    _leaves: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    _types: dict[str, list[int]] = field(default_factory=lambda: defaultdict[str, list[int]](list))
    _ids: dict[bytes, int] = field(default_factory=dict[bytes, int])
    _subjects: dict[tuple[str, bytes], list[int]] = field(
        default_factory=lambda: defaultdict[tuple[str, bytes], list[int]](list)
    )
    _mentions: dict[tuple[str, bytes], list[int]] = field(
        default_factory=lambda: defaultdict[tuple[str, bytes], list[int]](list)
    )
    _roots: dict[bytes, int] = field(default_factory=dict[bytes, int])
    _ends: list[int] = field(default_factory=list[int])
    _times: list[int] = field(default_factory=list[int])

    # --- filling --------------------------------------------------------------------------------

    def founded(self, genesis: Genesis, membership: Membership) -> None:
        """Take the members."""
        del genesis
        self.membership = membership

    def feed(self, run: Run) -> None:
        """Take the statements of the next leaves, which the audit has framed already."""
        if _OURS not in run.bundle and _SEALED not in run.bundle:
            return
        for index, leaf in enumerate(split_entries(run.bundle), run.first_index):
            if self.up_to is not None and index >= self.up_to:
                return
            if leaf[:2] == _SEALED:
                self._take_sealed(index, leaf)
            elif leaf[:2] == _STATEMENT and _OURS in leaf:
                self._take(index, leaf)

    def close_height(self, closed: ClosedHeight) -> None:
        """Note until which leaf a height goes, and its time."""
        if closed.seal is not None and (self.up_to is None or closed.size <= self.up_to):
            self._ends.append(closed.size)
            self._times.append(closed.seal.time)
            self._roots[closed.root] = closed.size

    def _take_sealed(self, index: int, leaf: bytes) -> None:
        try:
            entry = decode_leaf(leaf)
        except ProtocolError:
            return  # a finding of the ledger's audit
        if isinstance(entry, SealedEntry):
            self.sealed.setdefault((entry.author, entry.commitment), index)

    def _take(self, index: int, leaf: bytes) -> None:
        try:
            entry = decode_leaf(leaf)
            if not isinstance(entry, StatementEntry):
                return
            statement = decode_statement(entry.statement)
            subjects = list_subjects(statement)
        except ProtocolError:
            return  # a finding of the ledger's audit
        name = str(statement["predicateType"])
        predicate = BY_TYPE.get(name)
        if predicate is None:
            self.others += 1
            return
        try:
            said = predicate.read(statement)
        except ProtocolError as error:
            self.unreadable.append((index, str(error)))
            return
        place = len(self._leaves)
        self._leaves.append((index, leaf))
        self._types[name].append(place)
        self._ids.setdefault(sha256(entry.statement).digest(), place)
        for subject in subjects:
            for algorithm, digest in subject.digest.items():
                if isinstance(digest, bytes):
                    self._subjects[algorithm, digest].append(place)
        for evidence in said.evidence:
            commitment = digest_of(evidence, SEALED)
            if commitment is not None:
                self.opened.add((entry.author, commitment))
        for mention in {(mention.algorithm, mention.digest) for mention in list_mentions(said)}:
            self._mentions[mention].append(place)

    # --- asking ---------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Where the last height ends, as a log size; 0 before the first."""
        return self._ends[-1] if self._ends else 0

    @property
    def now(self) -> int:
        """The time of the last height, in milliseconds since 1970; what is due is judged by it. 0 before the first."""
        return self._times[-1] if self._times else 0

    def __len__(self) -> int:
        """Return how many statements of ours there are."""
        return len(self._leaves)

    def every(self, predicate: type[P]) -> Iterator[Claim[P]]:
        """Yield every statement of one predicate, in the order of the log."""
        for place in self._types.get(predicate.type_uri(), ()):
            yield self._typed(place, predicate)

    def by_id(self, statement: bytes | str | None) -> Claim[Predicate] | None:
        """Return the first entry of a statement, by its id."""
        place = self._ids.get(statement) if isinstance(statement, bytes) else None
        return None if place is None else self._read(place)

    def stated(self, predicate: type[P], statement: bytes | str | None) -> Claim[P] | None:
        """Return the first entry of a statement of one predicate, by its id."""
        found = self.by_id(statement)
        return None if found is None or not isinstance(found.said, predicate) else narrow(found, predicate)

    def about(self, algorithm: str, digest: bytes) -> list[Claim[Predicate]]:
        """Return what has a subject of this digest, in the order of the log."""
        return [self._read(place) for place in self._subjects.get((algorithm, digest), ())]

    def of(self, predicate: type[P], algorithm: str, digest: bytes | str | None) -> list[Claim[P]]:
        """Return the statements of one predicate that have a subject of this digest."""
        places = self._subjects.get((algorithm, digest), ()) if isinstance(digest, bytes) else ()
        wanted = self._types.get(predicate.type_uri(), [])
        return [self._typed(place, predicate) for place in places if _holds(wanted, place)]

    def mentioning(self, predicate: type[P], algorithm: str, digest: bytes | str | None) -> list[Claim[P]]:
        """Return the statements of one predicate that refer to this digest, in the order of the log."""
        places = self._mentions.get((algorithm, digest), ()) if isinstance(digest, bytes) else ()
        wanted = self._types.get(predicate.type_uri(), [])
        return [self._typed(place, predicate) for place in places if _holds(wanted, place)]

    def naming(self, algorithm: str, digest: bytes) -> list[Claim[Predicate]]:
        """Return what refers to this digest, in the order of the log."""
        return [self._read(place) for place in self._mentions.get((algorithm, digest), ())]

    def dangling(self) -> Iterator[Claim[Predicate]]:
        """Yield what refers to something that no statement but itself is about, in the order of the log."""
        found = set[int]()
        for (algorithm, digest), places in self._mentions.items():
            known = [self._ids[digest]] if algorithm == STATEMENT and digest in self._ids else []
            known = known or self._subjects.get((algorithm, digest), [])
            found.update(place for place in places if not known or known == [place])
        for place in sorted(found):
            yield self._read(place)

    def all(self) -> Iterator[Claim[Predicate]]:
        """Yield every statement of ours, in the order of the log."""
        for place in range(len(self._leaves)):
            yield self._read(place)

    def statement(self, claim: Claim[Predicate]) -> Statement:
        """Return a claim's whole statement, members that its predicate does not declare included."""
        place = bisect_right(self._leaves, claim.index, key=lambda kept: kept[0]) - 1
        entry = decode_leaf(self._leaves[place][1])
        assert isinstance(entry, StatementEntry), "taken as one"
        return decode_statement(entry.statement)

    def size_at(self, root: bytes | str | None) -> int | None:
        """Return the size at which a height ended with this root, None where none did."""
        return self._roots.get(root) if isinstance(root, bytes) else None

    def _typed(self, place: int, predicate: type[P]) -> Claim[P]:
        return narrow(self._read(place), predicate)

    def _read(self, place: int) -> Claim[Predicate]:
        index, leaf = self._leaves[place]
        at = bisect_right(self._ends, index)
        return _claim(index, leaf, self._times[at] if at < len(self._times) else self.now)


def narrow(claim: Claim[Predicate], predicate: type[P]) -> Claim[P]:
    """Return the claim as one of this predicate, which it is."""
    assert isinstance(claim.said, predicate), "filed by its type"
    return cast("Claim[P]", claim)


def _holds(ordered: Sequence[int], place: int) -> bool:
    at = bisect_right(ordered, place)
    return at > 0 and ordered[at - 1] == place


@lru_cache(_CACHED)
def _claim(index: int, leaf: bytes, time: int) -> Claim[Predicate]:
    entry = decode_leaf(leaf)
    assert isinstance(entry, StatementEntry), "taken as one"
    statement = decode_statement(entry.statement)
    said = BY_TYPE[str(statement["predicateType"])].read(statement)
    number, subjects = entry.seq, tuple(list_subjects(statement))
    return Claim(index, entry.author, number, time, sha256(entry.statement).digest(), subjects, said)


def digest_of(what: object, algorithm: str) -> bytes | None:
    """Return the digest of one algorithm of a resource or commitment, None where it states none."""
    digest: Mapping[str, bytes | str] | None = getattr(what, "digest", None)
    value = None if digest is None else digest.get(algorithm)
    return value if isinstance(value, bytes) else None


@dataclass(frozen=True, slots=True)
class Mention:
    """A digest that a statement refers to something by, and the member in which it stands.

    ``names`` is False for a commitment, which fixes something that need not be shown.
    """

    member: str
    algorithm: str
    digest: bytes
    names: bool


_FOLLOWED = (STATEMENT, HEAD, RECORDS, TENSORS)


def list_mentions(said: object, member: str = "") -> list[Mention]:
    """Return what a predicate refers to by digests of ours; `evidence` is outside the log and left out."""
    if isinstance(said, Resource | Commitment):
        digest = said.digest or {}
        found = [(name, digest.get(name)) for name in _FOLLOWED]
        names = isinstance(said, Resource)
        return [Mention(member, name, value, names) for name, value in found if isinstance(value, bytes)]
    if isinstance(said, tuple):
        items = cast("tuple[object, ...]", said)
        return [mention for one in items for mention in list_mentions(one, member)]
    if not is_dataclass(said):
        return []
    members = [each.name for each in fields(said) if each.name != "evidence"]
    return [one for name in members for one in list_mentions(getattr(said, name), f"{member}.{name}".lstrip("."))]
