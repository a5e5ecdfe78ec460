"""Found by every Python that ``glasslog record`` starts: the user's own ``sitecustomize`` first, then the recorder.

Nothing is imported for it before the training imports torch; nothing that fails here reaches the training.
"""

import sys
from pathlib import Path


def _run_users_own() -> None:
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = Path(__file__).resolve().parent
    spec = PathFinder.find_spec("sitecustomize", [one for one in sys.path if Path(one or ".").resolve() != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


def _install() -> None:
    import os

    sys.path += [one for one in os.environ.get("GLASSLOG_RECORD_PATH", "").split(os.pathsep) if one not in sys.path]
    from glasslog_lab.recorder.launch import install

    install()


try:
    _run_users_own()
finally:
    try:
        _install()
    except Exception as error:  # noqa: BLE001  a training goes on without its recorder
        sys.stderr.write(f"RECORD-05 not recording: {type(error).__name__}: {error}\n")
