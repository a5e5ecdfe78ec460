"""What must hold of a whole world, with arithmetic of its own over everything that was ever signed.

A world's items are one set. A certificate exists as soon as q names have signed for it, whether or not anybody has put
the votes together; so the oracle sees a fork one step before any replica could.
"""

from __future__ import annotations

from itertools import combinations

from exhaustive.items import Items, bits
from glasslog.agreement.messages import Kind

Final = tuple[int, bytes]


class Oracle:
    """Judges sets of items and chains; every different set of one view's items is judged once."""

    def __init__(self, items: Items, quorum: int) -> None:
        self._items = items
        self._quorum = quorum
        self._views: dict[int, tuple[str | None, frozenset[bytes]]] = {}
        self._finals: dict[frozenset[Final], str | None] = {}
        self._chains: dict[frozenset[tuple[Final, ...]], str | None] = {}

    def judge(self, sent: int, views: int, chains: frozenset[tuple[Final, ...]]) -> str | None:
        """Return what is violated in a world where these items were sent and these chains are final, or None."""
        final, wrong = set[Final](), list[str]()
        for view in range(1, views + 1):
            mask = sent & self._items.of_view.get(view, 0)
            known = self._views.get(mask)
            if known is None:
                known = self._views[mask] = self._judge_view(view, mask)
            if known[0] is not None:
                wrong.append(known[0])
            final |= {(view, digest) for digest in known[1]}
        by_votes = frozenset(final)
        if by_votes not in self._finals:
            self._finals[by_votes] = self._judge_finals(by_votes)
        if chains not in self._chains:
            self._chains[chains] = _judge_chains(chains)
        return self._finals[by_votes] or self._chains[chains] or (wrong[0] if wrong else None)

    def _judge_view(self, view: int, mask: int) -> tuple[str | None, frozenset[bytes]]:
        """I1 to I3 and A15 in one view; also return the digests that q names have signed F for."""
        voters: dict[tuple[Kind, bytes], set[int]] = {}
        held = set[tuple[Kind, bytes]]()
        for number in bits(mask):
            item = self._items.items[number]
            if item.kind is None:
                voters.setdefault((Kind.NOTARIZE, item.digest), set()).add(view % 4)
            elif item.voter is None:
                held.add((item.kind, item.digest))
            else:
                voters.setdefault((item.kind, item.digest), set()).add(item.voter)
        made = {what for what, names in voters.items() if len(names) >= self._quorum}
        final = frozenset(digest for kind, digest in made if kind is Kind.FINALIZE)
        if held - made:
            return f"A15 a certificate of view {view} that fewer than {self._quorum} names have signed for", final
        if len({digest for kind, digest in made if kind is Kind.NOTARIZE}) > 1:
            return f"I2 two proposals are notarized in view {view}", final
        if len(final) > 1:
            return f"I4 two proposals are final in view {view}", final
        if final and (Kind.NULLIFY, b"") in made:
            return f"I3 view {view} is both nullified and final", final
        return None, final

    def _judge_finals(self, finals: frozenset[Final]) -> str | None:
        """I4: of any two final proposals one descends from the other."""
        for (low, digest), (high, above) in combinations(sorted(finals), 2):
            at = above
            while at in self._items.proposals and self._items.proposals[at].view > low:
                at = self._items.proposals[at].parent_digest
            if at != digest:
                return f"I4 the final proposals of views {low} and {high} are on different branches ({above.hex()[:4]})"
        return None


def _judge_chains(chains: frozenset[tuple[Final, ...]]) -> str | None:
    """I4: finalized chains are prefixes of one another."""
    for one, other in combinations(sorted(chains, key=len), 2):
        if other[: len(one)] != one:
            return "I4 two instances have different chains"
    return None
