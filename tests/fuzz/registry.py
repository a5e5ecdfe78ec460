"""Every target by name.

Importing this imports the product whole: under atheris that has to come after instrumenting.
"""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import agreement, custody, formats, http, network, node, proofs, records, secrecy, values, weights

TARGETS: dict[str, Target] = {
    target.name: target
    for group in (values, agreement, proofs, records, secrecy, network, node, http, weights, custody, formats)
    for target in group.TARGETS
}
