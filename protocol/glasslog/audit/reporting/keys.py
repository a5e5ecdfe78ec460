"""Which keys were relied on, from where each is known, and what the ledger says against it (G5)."""

from __future__ import annotations

from hashlib import sha256

from glasslog.audit.claims import Claims
from glasslog.audit.claims.ledger import Claim, digest_of
from glasslog.audit.reporting.document import Key, Notice
from glasslog.membership import Membership
from glasslog.policy import Bft
from glasslog.predicates.compromise_notice import CompromiseNotice

NOTICES_MAX = 20  # about one key

KEY_VALIDITY = (
    "Validators' keys are known from the policy alone: they are who the examiner's policy says they are.",
    "Authors' keys are known from the log's first entries, which the validators' signatures cover.",
    "What speaks against a key stands in the log itself, as a notice.",
    "No authority beyond the log was asked whether a key was revoked, and none is known that could answer.",
    "A signature shows that a key was used, not in whose hands it was.",
)


def list_keys(claims: Claims, bft: Bft) -> tuple[Key, ...]:
    """Return the policy's keys, and then the authors' in the ledger."""
    notices: dict[bytes, list[Notice]] = {}
    for claim in claims.every(CompromiseNotice):
        about = digest_of(claim.said.key, "sha256")
        if about is not None and len(notices.setdefault(about, [])) < NOTICES_MAX:
            notices[about].append(_notice(claim))
    rows: list[tuple[str, str, str, bytes, str]] = []
    for member in bft.members:
        for use, key in (
            ("signs the log (Ed25519)", member.log),
            ("finalizes (Ed25519)", member.ed25519),
            ("finalizes (ML-DSA-44)", member.mldsa44),
        ):
            rows.append((member.name, member.jurisdiction, use, key, "the policy"))
    rows += _author_keys(claims.membership)
    return tuple(
        [
            Key(owner, where, use, sha256(key).hexdigest(), known, tuple(notices.get(sha256(key).digest(), ())))
            for owner, where, use, key, known in rows
        ]
    )


def _author_keys(membership: Membership | None) -> list[tuple[str, str, str, bytes, str]]:
    members = () if membership is None else membership.members
    return [
        (one.name, one.jurisdiction, "signs statements (Ed25519)", one.author_key, "the log's first entries")
        for one in members
        if one.author_key is not None
    ]


def _notice(claim: Claim[CompromiseNotice]) -> Notice:
    return Notice(claim.index, claim.author, claim.said.since, claim.said.cause)
