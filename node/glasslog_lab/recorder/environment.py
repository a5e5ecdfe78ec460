"""The environment a training ran in, as far as it changes numbers: versions, devices, threads, determinism.

Never a host, a user or an arbitrary variable: only what is named here is read.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import import_module, metadata
from typing import Any

_LIBRARIES = ("torch", "numpy", "transformers", "accelerate", "lightning", "jax", "jaxlib", "optax", "scikit-learn")
_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "PYTHONHASHSEED", "RANK", "WORLD_SIZE",
    "TF32_OVERRIDE", "XLA_FLAGS",
)  # fmt: skip


def describe_environment() -> dict[str, str]:
    """Return the environment as texts; torch is asked only where the training has loaded it."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    found |= {name: os.environ[name][:100] for name in _VARIABLES if name in os.environ}
    if commit := _git_commit():
        found["git-commit"] = commit
    if "torch" in sys.modules:
        found |= _describe_torch()
    return found


def _describe_torch() -> dict[str, str]:
    torch: Any = import_module("torch")

    found = {
        "torch-threads": str(torch.get_num_threads()),
        "torch-interop-threads": str(torch.get_num_interop_threads()),
        "torch-deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
        "cudnn-deterministic": str(torch.backends.cudnn.deterministic).lower(),
        "cudnn-benchmark": str(torch.backends.cudnn.benchmark).lower(),
    }
    if torch.cuda.is_available():
        names = sorted({torch.cuda.get_device_name(one) for one in range(torch.cuda.device_count())})
        found["devices"] = ", ".join(names)
    return found


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607  the user's own git, by its name
            capture_output=True, text=True, check=False, timeout=2,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
