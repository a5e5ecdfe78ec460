"""Write ``specs/statements/`` anew from the predicates' declarations: ``.venv/bin/python deploy/statements.py``."""

from __future__ import annotations

import json
from pathlib import Path

from glasslog.predicates import values
from glasslog.predicates.grammar import to_cddl, to_json_schema, to_record_table, to_table
from glasslog.predicates.vocabulary import PREDICATES

FOLDER = Path(__file__).resolve().parents[1] / "specs" / "statements"
SHARED = (values.Resource, values.Commitment, values.Organisation, values.Period, values.Quantity, values.File)
HEAD = """# The predicates, member by member

Written from `protocol/glasslog/predicates/`; [statements.md](../statements.md) has what is common to all. A member
with `?` may be left out. A member that is not here is carried and means nothing.
"""


def render() -> dict[str, str]:
    """Return every file of the folder by its name."""
    files = {"README.md": "\n".join([HEAD, *map(to_table, PREDICATES), "# Shared\n", *map(to_record_table, SHARED)])}
    for predicate in PREDICATES:
        files[f"{predicate.NAME}.cddl"] = to_cddl(predicate)
        schema = json.dumps(to_json_schema(predicate), indent=2, ensure_ascii=False)
        files[f"{predicate.NAME}.schema.json"] = schema + "\n"
    return files


def main() -> None:
    """Write the folder, and take out of it what no predicate makes any more."""
    FOLDER.mkdir(exist_ok=True)
    files = render()
    for path in FOLDER.iterdir():
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
