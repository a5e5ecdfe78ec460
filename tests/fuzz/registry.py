"""Every target, by name."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import agreement, custody, http, lab, network, node, proofs, secrecy, values

TARGETS: dict[str, Target] = {
    target.name: target
    for group in (values, agreement, proofs, secrecy, network, node, http, lab, custody)
    for target in group.TARGETS
}
