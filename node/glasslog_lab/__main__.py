"""``python -m glasslog_lab WORD``: the ``glasslog`` command of this installation, whose words the lab's are among."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points


def main() -> None:
    """Run the installed command; its status is ours."""
    for point in entry_points(group="console_scripts", name="glasslog"):
        point.load()()
    sys.exit("EXTRA-01 glasslog is not installed here. Next: pip install 'glasslog[lab]'")


if __name__ == "__main__":
    main()
