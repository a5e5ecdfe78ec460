"""Lightning: ``Trainer(callbacks=[callback(folder)])`` records every optimizer step (specs/custody.md, C9)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from glasslog_lab.recorder.torch import Attached, attach


def callback(folder: Path | str, **options: Any) -> Any:
    """Return a ``Callback``; ``options`` are those of ``torch.attach``. Manual optimization is seen as well."""
    lightning: Any = import_module("lightning.pytorch")

    class RecorderCallback(lightning.Callback):  # type: ignore[misc]  # pyright: ignore[reportUntypedBaseClass]  # not installed where types are checked
        """Attaches when a training begins; tells epochs and checkpoints; closes at its end."""

        attached: Attached | None = None
        line = ""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            first = int(trainer.global_step) + 1 if trainer.global_step else None
            self.attached = attach(folder, pl_module, first_step=first, **options)

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if self.attached:
                self.attached.epoch = int(trainer.current_epoch)

        def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
            if self.attached:
                self.attached.checkpoint()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            if self.attached:
                self.line = self.attached.close()
                self.attached = None

    return RecorderCallback()
