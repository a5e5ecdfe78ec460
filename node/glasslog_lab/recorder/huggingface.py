"""Hugging Face: ``Trainer(callbacks=[callback(folder)])`` records every optimizer step (specs/custody.md, C9)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from glasslog_lab.recorder.torch import Attached, attach


def callback(folder: Path | str, **options: Any) -> Any:
    """Return a ``TrainerCallback``; ``options`` are those of ``torch.attach``. Steps come from the optimizer hooks."""
    transformers: Any = import_module("transformers")

    class RecorderCallback(transformers.TrainerCallback):  # type: ignore[misc]  # pyright: ignore[reportUntypedBaseClass]  # not installed where types are checked
        """Attaches when a training begins; tells epochs, losses and checkpoints; closes at its end."""

        attached: Attached | None = None
        line = ""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            stated: dict[str, Any] = {"seed": int(args.seed), **options}
            first = int(state.global_step) + 1 if state.global_step else None
            self.attached = attach(folder, kwargs["model"], first_step=first, **stated)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.attached:
                self.attached.epoch = int(state.epoch or 0)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs: dict[str, Any] = kwargs.get("logs") or {}
            if self.attached:
                self.attached.values |= {f"log/{name}": logs[name] for name in ("loss", "grad_norm") if name in logs}

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.attached:
                self.attached.checkpoint()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.attached:
                self.line = self.attached.close()
                self.attached = None

    return RecorderCallback()
