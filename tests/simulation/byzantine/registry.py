"""The behaviours by the names under which a seed draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.byzantine.accusing import Accusing
from simulation.byzantine.behaviour import Byzantine
from simulation.byzantine.double_voting import DoubleVoting
from simulation.byzantine.equivocating import Equivocating
from simulation.byzantine.everything import Everything
from simulation.byzantine.flooding import Flooding
from simulation.byzantine.forging import Forging
from simulation.byzantine.nullify_and_finalize import NullifyingAndFinalizing
from simulation.byzantine.replaying import Replaying
from simulation.byzantine.silent import Silent
from simulation.byzantine.stale_fork import StaleFork
from simulation.byzantine.twins import Twins
from simulation.byzantine.withholding import Withholding
from simulation.byzantine.withholding_author import WithholdingAuthor
from simulation.byzantine.withholding_leader import WithholdingLeader

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.node import Node

BEHAVIOURS: dict[str, type[Byzantine]] = {
    "silent": Silent,
    "equivocating": Equivocating,
    "double-voting": DoubleVoting,
    "nullify-and-finalize": NullifyingAndFinalizing,
    "stale-fork": StaleFork,
    "withholding": Withholding,
    "withholding-leader": WithholdingLeader,
    "withholding-author": WithholdingAuthor,
    "forging": Forging,
    "replaying": Replaying,
    "flooding": Flooding,
    "accusing": Accusing,
    "twins": Twins,
    "everything": Everything,
}


def make_byzantine(behaviour: str, cluster: Cluster, node: Node) -> Byzantine:
    """Return the behaviour of this name."""
    return BEHAVIOURS[behaviour](cluster, node)
