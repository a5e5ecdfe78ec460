"""``glasslog record -- python train.py``: no code is changed (specs/custody.md, C9).

The command replaces this process, so its status and its signals are its own. Its Python, and its children's, find
``injected/sitecustomize.py``, which waits for torch to be imported and attaches the recorder.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import glasslog
import glasslog_lab
from glasslog_lab.errors import ArtifactError

OPTIONS = "GLASSLOG_RECORD"
SEARCH = "GLASSLOG_RECORD_PATH"


def launch(command: Sequence[str], options: Mapping[str, Any]) -> NoReturn:
    """Become ``command``, recorded with ``options``: ``folder`` and those of ``torch.attach``.

    Raises:
        ArtifactError: RECORD-06, it cannot be run.
    """
    try:
        os.execvpe(command[0], list(command), launch_environment(os.environ, options))  # noqa: S606  the user's command
    except OSError as error:
        raise ArtifactError(
            "RECORD-06", f"{command[0]} cannot be run: {error.strerror}", "check the command's name"
        ) from error


def launch_environment(environment: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment in which every Python records."""
    import blake3

    own = {Path(one).resolve().parents[1] for one in (glasslog.__file__, glasslog_lab.__file__, blake3.__file__) if one}
    injected = str(Path(__file__).resolve().parent / "injected")
    before = [injected, *filter(None, [environment.get("PYTHONPATH")])]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(before),
        SEARCH: os.pathsep.join(sorted(str(one) for one in own)),
        OPTIONS: json.dumps(dict(options)),
    }


def install() -> None:
    """Attach the recorder once torch is imported; called by the injected ``sitecustomize``."""
    if OPTIONS in os.environ:
        sys.meta_path.insert(0, _WaitForTorch(json.loads(os.environ[OPTIONS])))


class _WaitForTorch(MetaPathFinder):
    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find torch itself as anybody would, with something to do after it is loaded."""
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, self._options)
        return spec


class _Then(Loader):
    def __init__(self, loader: Loader, options: dict[str, Any]) -> None:
        self._loader, self._options = loader, options

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to torch's own loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load torch, then attach."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        try:
            _attach(self._options)
        except Exception as error:  # noqa: BLE001  a training goes on without its recorder
            sys.stderr.write(f"RECORD-05 not recording: {type(error).__name__}: {error}\n")


def _attach(options: dict[str, Any]) -> None:
    from glasslog_lab.recorder.torch import attach

    attached = attach(options.pop("folder"), **options)
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner and attached.recorder.began:
            sys.stderr.write(f"glasslog: {attached.close()}\n")

    atexit.register(end)
