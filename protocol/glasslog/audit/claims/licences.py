"""What SPDX licence expressions ask of whoever passes something on: licences that models and data come under (Q8).

Facts are those of the licences' own texts; identifiers are SPDX's (https://spdx.org/licenses/, list 3.27).
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache


class Trait(Enum):
    """A condition of a licence."""

    NON_COMMERCIAL = "non-commercial use only"
    NO_DERIVATIVES = "no derivatives"
    SHARE_ALIKE = "the same licence for what is made from it"
    USE_RESTRICTED = "restrictions of use that are passed on"

    @property
    def carries_on(self) -> bool:
        """Whether it holds for what is made from the work too."""
        return self is not Trait.NO_DERIVATIVES


_FREE = frozenset(
    {
        "0BSD", "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
        "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "ODC-By-1.0", "PDDL-1.0", "PSF-2.0",
        "UPL-1.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
_SHARE_ALIKE = re.compile(
    r"(A?GPL-[123]\.0|LGPL-[23]\.[01]|MPL-[12]\.[01]|EPL-[12]\.0|EUPL-1\.[12]|CDLA-Sharing-1\.0|ODbL-1\.0)(-only|-or-later)?"
)
_CREATIVE_COMMONS = re.compile(r"CC-BY(-NC)?(-SA|-ND)?-[1-4]\.[05](-[A-Z]{2,3})?")
_USE_RESTRICTED = frozenset(
    {"LicenseRef-OpenRAIL", "LicenseRef-CreativeML-OpenRAIL-M", "LicenseRef-BigScience-RAIL-1.0"}
)


@cache
def read_traits(expression: str | None) -> frozenset[Trait] | None:
    """Return the conditions of an expression, None where they are not known here.

    Of ``A OR B`` they are what both ask for, since one may choose; of ``A AND B`` what either asks for. Expressions in
    parentheses are not taken apart.
    """
    if expression is None or "(" in expression or ")" in expression:
        return None
    choices = [_read_all(one) for one in expression.split(" OR ")]
    known = [one for one in choices if one is not None]
    if len(known) < len(choices):
        return None
    return known[0].intersection(*known)


def _read_all(conjunction: str) -> frozenset[Trait] | None:
    parts = [_read_one(one.split(" WITH ")[0].strip().removesuffix("+")) for one in conjunction.split(" AND ")]
    known = [one for one in parts if one is not None]
    if len(known) < len(parts):
        return None
    return known[0].union(*known)


def _read_one(identifier: str) -> frozenset[Trait] | None:
    if identifier in _FREE:
        return frozenset()
    if identifier in _USE_RESTRICTED:
        return frozenset({Trait.USE_RESTRICTED})
    if _SHARE_ALIKE.fullmatch(identifier):
        return frozenset({Trait.SHARE_ALIKE})
    commons = _CREATIVE_COMMONS.fullmatch(identifier)
    if commons is None:
        return None
    traits = {Trait.NON_COMMERCIAL} if commons[1] else set[Trait]()
    traits |= {"-SA": {Trait.SHARE_ALIKE}, "-ND": {Trait.NO_DERIVATIVES}}.get(commons[2] or "", set[Trait]())
    return frozenset(traits)
