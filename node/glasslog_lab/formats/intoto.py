"""in-toto Statements v1, bare or in a DSSE envelope: kept whole, by their own predicate (M11).

A statement whose signature verified goes into the ledger as it says it, and its envelope into the evidence store: to
convert it would lose its signature. One that nobody's signature was verified of, one of glasslog's own predicates, and
one that the ledger's canonical form cannot carry without loss are evidence alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glasslog.errors import DecodeError
from glasslog.statement import STATEMENT_TYPE, Statement, encode_statement, from_json
from glasslog_lab.formats.dsse import (
    ENVELOPE_MEDIA_TYPE,
    INTOTO_PAYLOAD,
    read_envelope,
    read_payload,
    require_intoto,
    verify_envelope,
)
from glasslog_lab.formats.facts import Checked, Digests, Evidence, Imported, Reference
from glasslog_lab.formats.keys import Key
from glasslog_lab.formats.reading import Cursor, is_digest, load_json, refusal

LIST_MAX = 100_000
_OURS = "urn:glasslog:"
_NOT_ENTERED = (
    "the statement itself is not entered: no signature over it was verified; what is your own you submit as it is"
)


def import_envelope(data: bytes, where: str, keys: Sequence[Key] = (), threshold: int = 1) -> Imported:
    """Import a DSSE envelope; verified where keys are given.

    Raises:
        ArtifactError: IMPORT-02 to IMPORT-09.
    """
    envelope = read_envelope(Cursor(where, "", load_json(data, where)))
    require_intoto(envelope)
    signers = verify_envelope(envelope, keys, threshold) if keys else ()
    checked = Checked.SIGNED if keys else Checked.DECLARED
    unchecked = () if keys else ("the signatures: no key was given",)
    evidence = Evidence.of(data, ENVELOPE_MEDIA_TYPE, where)
    return import_payload(envelope.payload, read_payload(envelope), evidence, checked, signers, unchecked)


def import_statement(data: bytes, where: str) -> Imported:
    """Import a bare statement, which nobody signed.

    Raises:
        ArtifactError: IMPORT-02 to IMPORT-05.
    """
    cursor = Cursor(where, "", load_json(data, where))
    evidence = Evidence.of(data, INTOTO_PAYLOAD, where)
    return import_payload(data, cursor, evidence, Checked.DECLARED, (), ("who stated it: it is not signed",))


def import_payload(
    payload: bytes,
    cursor: Cursor,
    evidence: Evidence,
    checked: Checked,
    signers: tuple[str, ...],
    unchecked: tuple[str, ...],
) -> Imported:
    """Return what a statement's bytes give: the statement itself, and facts where its predicate is a known one.

    Raises:
        ArtifactError: IMPORT-05, it is no statement v1 or its predicate not what its type says.
    """
    from glasslog_lab.formats.slsa import PROVENANCE_TYPE, read_provenance

    check_statement(cursor)
    runs = (read_provenance(cursor, checked),) if cursor.need("predicateType").value == PROVENANCE_TYPE else ()
    kept, notes = keep(payload) if checked is Checked.SIGNED else ((), (_NOT_ENTERED,))
    return Imported(
        format="intoto", checked=checked, evidence=(evidence,), runs=runs, statements=kept, signers=signers,
        unchecked=(*unchecked, "whether what it states is so"), notes=notes,
    )  # fmt: skip


def keep(payload: bytes) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """Return the statement as the ledger carries it, or none and why.

    A predicate of glasslog speaks for the author of its entry: a withdrawal that somebody sent must not become ours by
    being imported.
    """
    try:
        statement = from_json(payload)
        encode_statement(statement)
    except DecodeError as error:
        return (), (f"kept as evidence only: {error.code} {error.fact}",)
    kind = str(statement["predicateType"])
    if kind.startswith(_OURS):
        return (), (f"kept as evidence only: {kind} speaks for whoever enters it, and only its author does",)
    return (statement,), ()


def check_statement(cursor: Cursor) -> None:
    """Check that a value is an in-toto Statement v1.

    Raises:
        ArtifactError: IMPORT-05.
    """
    if cursor.need("_type").text() != STATEMENT_TYPE:
        raise cursor.need("_type").refuse(f"is not {STATEMENT_TYPE}")
    cursor.need("predicateType").text()
    if not cursor.need("subject").value:
        raise cursor.need("subject").refuse("names no subject")
    for subject in cursor.need("subject").items():
        digests = subject.need("digest").members()
        if not digests or not all(isinstance(one, str) and one for one in digests.values()):
            raise subject.refuse("has no digest, by which alone a subject is found")


def read_resource(cursor: Cursor) -> Reference:
    """Return a ResourceDescriptor.

    Raises:
        ArtifactError: IMPORT-05, it names nothing.
    """
    name, uri = cursor.text_of("name"), cursor.text_of("uri") or cursor.text_of("downloadLocation")
    digests = read_digests(cursor.get("digest"))
    if name is None and uri is None and not digests:
        raise cursor.refuse("names nothing: neither digest, uri nor name")
    return Reference(name=name, uri=uri, digests=digests)


def read_digests(cursor: Cursor | None) -> Digests:
    """Return the digests of known algorithms that have their length; others are passed over."""
    if cursor is None:
        return {}
    known = {name: value.lower() for name, value in cursor.members().items() if isinstance(value, str)}
    return {name: value for name, value in known.items() if is_digest(name, value)}


def read_list(cursor: Cursor, name: str) -> list[Cursor]:
    """Return a list's elements. Raises ArtifactError IMPORT-03 where there are over 100,000."""
    found = list(cursor.list(name))
    if len(found) > LIST_MAX:
        raise refusal("IMPORT-03", cursor.where, f"{name} has over {LIST_MAX} elements")
    return found


def resource(reference: Reference) -> dict[str, object]:
    """Return a reference as a ResourceDescriptor."""
    members: Mapping[str, object | None] = {
        "name": reference.name, "uri": reference.uri, "digest": dict(reference.digests) or None,
    }  # fmt: skip
    return {name: value for name, value in members.items() if value is not None}
