"""Run as a process: writes a store as a busy node would, or audits folders that might end the process.

audit_child.py write FOLDER       commits heights until its input ends; a line for each
audit_child.py audit POLICY       audits each folder that a line of its input names; prints a JSON line
"""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path

from audit_ledger import LAB, OTHER_LAB, World
from glasslog.audit import audit
from glasslog.bundle import read_policy
from glasslog_node.errors import OperatingError
from glasslog_node.sources import open_source
from glasslog_node.store import Store, create_mark, default_mark_path


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write(folder: Path) -> None:
    world = World()
    create_mark(default_mark_path(folder), world.membership.genesis_hash)
    with Store.open(folder, create=True, genesis=world.genesis) as store:
        done = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            world.add_height([*world.make_blocks(LAB, (5, 2)), *world.make_blocks(OTHER_LAB, (3,))])
            world.publish()
            for records in world.records[done:]:
                store.commit(records)
            done = len(world.records)
            tell(f"{world.state.height} {world.state.size} {world.state.root.hex()}")


def judge(policy: Path) -> None:
    trusted = read_policy(policy.read_bytes())
    for line in sys.stdin:
        try:
            with open_source(line.strip()) as source:
                report = audit(source, trusted)
        except OperatingError as error:
            answer: dict[str, object] = {"status": 2, "fact": str(error)}
        else:
            answer = {"status": report.status, "size": report.size, "root": report.root.hex()}
            answer["findings"] = [finding.line for finding in report.findings.kept[:3]]
        tell(json.dumps(answer))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        judge(Path(sys.argv[2]))
