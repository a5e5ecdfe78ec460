"""What a replica answers to peers that catch up: authors' blocks and runs of finalized heights (S8)."""

from __future__ import annotations

from collections.abc import Iterator

from glasslog.agreement.messages import BlockBody, FinalizedRun, Kind, Proposal, decode_proposal
from glasslog.block import Ref, decode_header_leaf
from glasslog.limits import MESSAGE_BYTES_MAX, RUN_HEIGHTS_MAX
from glasslog_node.store import schema
from glasslog_node.store.ledger import Ledger

_RUN_BYTES = MESSAGE_BYTES_MAX - (16 << 10)  # leaves room for the certificate: 64 signers' is 5 KB


class Serving(Ledger):
    """A ledger that also holds blocks which are not final yet."""

    def block(self, ref: Ref) -> BlockBody | None:
        """Return a held block, final or not."""
        with self.environment.read() as txn:
            value = txn.get(schema.block_key(ref), db=self._db.blocks)
            return None if value is None else BlockBody(*schema.read_body(value))

    def blocks(self, author: str, first_seq: int, last_seq: int, last_hash: bytes) -> Iterator[BlockBody]:
        """Yield the held blocks ``first_seq..last_seq`` on the chain that ends in ``last_hash``, oldest first.

        Nothing if the last one is not held; the part above it where one in between is not.
        """
        refs = self._walk_back(Ref(author, last_seq, last_hash), first_seq)
        for ref in reversed(refs):
            body = self.block(ref)
            if body is not None:  # dropped since: the requester will ask again, or no longer need it
                yield body

    def _walk_back(self, ref: Ref, first_seq: int) -> list[Ref]:
        refs: list[Ref] = []
        with self.environment.read() as txn:
            while ref.seq >= max(first_seq, 1):
                value = txn.get(schema.block_key(ref), db=self._db.blocks)
                if value is None:
                    break
                refs.append(ref)
                header, _, _ = decode_header_leaf(schema.body_header(value))
                ref = Ref(ref.author, ref.seq - 1, header.prev)
        return refs

    def run(self, height: int, *, limit: int = RUN_HEIGHTS_MAX, bytes_max: int = _RUN_BYTES) -> FinalizedRun | None:
        """Return as many finalized heights from ``height`` on as fit, ending in one that was certified final itself.

        None where no certified height is among the next ``limit``: heights between are final by their descendants.
        """
        proposals: list[Proposal] = []
        certified = 0
        with self.environment.read() as txn, txn.cursor(self._db.heights) as cursor:
            more = cursor.set_key(schema.u64(height))
            while more and len(proposals) < limit:
                _, _, encoded = schema.read_height(bytes(cursor.value()))
                bytes_max -= len(encoded)
                if bytes_max < 0:
                    break
                proposal = decode_proposal(encoded)
                proposals.append(proposal)
                key = schema.view_kind_key(proposal.epoch, proposal.view, Kind.FINALIZE)
                if txn.get(key, db=self._db.certificates) is not None:
                    certified = len(proposals)
                more = cursor.next()
        if not certified:
            return None
        last = proposals[certified - 1]
        certificate = self.certificate(last.epoch, last.view, Kind.FINALIZE)
        assert certificate is not None, "certificates are never deleted"
        return FinalizedRun(tuple(proposals[:certified]), certificate)
