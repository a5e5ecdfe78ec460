"""PyTorch: one line, ``attach(folder, model)``, records every step of every optimizer (specs/custody.md, C9).

Global optimizer hooks see every step, whoever calls it. GradScaler skips a step without calling any hook: its
``step`` is watched, and an optimizer it did not call is a skip. The module imports torch only where it is called.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from glasslog_lab.recorder.digests import Memory, content_root, new_hasher
from glasslog_lab.recorder.recording import Recorder

_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip


_INSIDE = {"DistributedDataParallel": "module", "DataParallel": "module", "OptimizedModule": "_orig_mod"}


class Attached:
    """The hooks of one recorder. ``close`` takes them off and returns the closing line.

    ``values`` (a loss, say), ``tokens`` and ``epoch`` may be set before a step; they are recorded with it and cleared,
    the epoch kept. ``gradients`` and ``optimizer_state`` say what is committed beside the parameters.
    """

    def __init__(
        self, recorder: Recorder, model: Any, *, gradients: bool, optimizer_state: bool, first_step: int | None
    ) -> None:  # fmt: skip
        self.recorder = recorder
        self.values = dict[str, float]()
        self.tokens = self.epoch = self.flop = 0
        self.enabled = True  # off: what happens meanwhile is not seen at all
        self._model, self._first_step = model, first_step
        self._gradients, self._optimizer_state = gradients, optimizer_state
        self._begun = False
        self._optimizers = list[Any]()  # as they are first seen: a step's values name them by place
        self._named: tuple[tuple[str, Any], ...] | None = None
        self._batch = new_hasher()
        self._batch_fed = False
        self._gradient_root: Any = None
        self._stepped = 0
        self._undo = list[Callable[[], None]]()
        self._candidates = dict[int, tuple[Any, bytes]]()  # modules called before the model is known, and their roots
        self._inner = set[int]()
        self._unwatch: Callable[[], None] = lambda: None

    def hook(self) -> None:
        """Put the hooks in place."""
        torch: Any = import_module("torch")
        optimizer: Any = import_module("torch.optim.optimizer")

        self._undo.append(optimizer.register_optimizer_step_pre_hook(self._before).remove)
        self._undo.append(optimizer.register_optimizer_step_post_hook(self._after).remove)
        self._watch_scaler(torch.amp.GradScaler)
        if self._model is not None:
            self._watch_inputs(self._model)
        else:
            watch = torch.nn.modules.module.register_module_forward_pre_hook
            self._unwatch = watch(self._before_call).remove
            self._undo.append(self._unwatch)

    def begin(self) -> None:
        """Commit to the start of the run now, rather than in the first step."""
        if not self._begun:
            self._begun = True
            seen = self._candidates.get(id(self._model))
            self.recorder.begin(seen[1] if seen else self.tensors(), first_step=self._first_step)
            self._unwatch()
            self._candidates.clear()
            self._inner.clear()

    def tensors(self) -> list[Memory]:
        """Return what is hashed: the model's state, by the names its checkpoint has."""
        return list(list_tensors(self._state()))

    def checkpoint(self) -> None:
        """Record that the state as it is now was kept."""
        self.begin()
        self.recorder.checkpoint(self.tensors(), self._states() if self._optimizer_state else None)

    def close(self) -> str:
        """Take the hooks off, close the run and return the closing line."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        return self.recorder.close()

    def _before(self, optimizer: Any, *_: Any) -> None:
        self._guarded(lambda: self._do_before(optimizer))

    def _do_before(self, optimizer: Any) -> None:
        if self._model is None and self._named is None:
            self._model = find_model(optimizer)
            if self._model is not None:
                self._watch_inputs(self._model)
        if not any(known is optimizer for known in self._optimizers):
            self._optimizers.append(optimizer)
            self._named = None
        self.begin()
        if self._gradients:
            named = ((name, value.grad) for name, value in self._state().items())
            self._gradient_root = list(list_tensors({name: grad for name, grad in named if grad is not None}))

    def _after(self, optimizer: Any, *_: Any) -> None:
        self._guarded(lambda: self._do_after(optimizer))

    def _do_after(self, optimizer: Any) -> None:
        self._stepped += 1
        place = next(number for number, known in enumerate(self._optimizers) if known is optimizer)
        groups = enumerate(optimizer.param_groups[:16])
        values = self._take_values() | {f"lr/{place}/{number}": float(one.get("lr", 0.0)) for number, one in groups}
        state = self._states() if self._optimizer_state else None
        self.recorder.step(
            self.tensors() if self.recorder.level else None, batch=self._take_batch(), values=values,
            gradients=self._gradient_root, optimizer=state, tokens=self.tokens, flop=self.flop, epoch=self.epoch,
            rng=rng_digest(),
        )  # fmt: skip
        self.tokens = self.flop = 0
        self._gradient_root = None

    def _guarded(self, act: Callable[[], None]) -> None:
        if not self.enabled:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001  a fault of ours never reaches a training
            self.recorder.fault(error)

    def _states(self) -> list[Memory]:
        found = dict[str, Any]()
        if self._optimizer_state:
            for place, optimizer in enumerate(self._optimizers):
                for number, state in optimizer.state_dict()["state"].items():
                    found |= {f"{place}/{number}/{name}": value for name, value in state.items()}
        return list(list_tensors({name: value for name, value in found.items() if hasattr(value, "data_ptr")}))

    def _state(self) -> Mapping[str, Any]:
        if self._model is not None:
            state: Mapping[str, Any] = self._model.state_dict(keep_vars=True)
            return {name: value for name, value in state.items() if hasattr(value, "data_ptr")}
        if self._named is None:
            self._named = tuple(
                (f"optimizer.{place}.group.{group}.{number}", value)
                for place, optimizer in enumerate(self._optimizers)
                for group, one in enumerate(optimizer.param_groups)
                for number, value in enumerate(one["params"])
            )
        return dict(self._named)

    def _take_values(self) -> dict[str, float]:
        values, self.values = self.values, {}
        return values

    def _take_batch(self) -> bytes | None:
        if not self._batch_fed:
            return None
        digest = bytes(self._batch.digest())
        self._batch.reset()
        self._batch_fed = False
        return digest

    def _before_call(self, module: Any, args: Any) -> None:
        self._guarded(lambda: self._first_call(module, args))

    def _first_call(self, module: Any, args: Any) -> None:
        """Keep the root of what may be the model, as it is before its first forward pass changes its buffers."""
        if id(module) not in self._candidates:
            if id(module) in self._inner or not module.training or next(module.parameters(), None) is None:
                return
            self._inner.update(id(one) for one in module.modules())
            self._candidates[id(module)] = module, content_root(list_tensors(module.state_dict()))
        self._feed(list(args))

    def _watch_inputs(self, model: Any) -> None:
        """Digest what the model is given while it trains: every micro-batch of an accumulated step."""

        def feed(_module: Any, args: Any, kwargs: Any) -> None:
            if model.training:
                self._guarded(lambda: self._feed([*args, *kwargs.values()]))

        self._undo.append(model.register_forward_pre_hook(feed, with_kwargs=True).remove)

    def _feed(self, inputs: list[Any]) -> None:
        named = {str(place): one for place, one in enumerate(inputs) if hasattr(one, "data_ptr")}
        for one in list_tensors(named):
            self._batch.update(f"{one.name} {one.dtype} {one.shape}\n".encode())
            self._batch.update(one.data)
            self._batch_fed = True

    def _watch_scaler(self, scaler: Any) -> None:
        original = scaler.step

        def step(this: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            before = self._stepped
            result = original(this, optimizer, *args, **kwargs)
            if self._stepped == before:
                self._guarded(self._skip)
            return result

        scaler.step = step

        def restore() -> None:
            if scaler.step is step:
                scaler.step = original

        self._undo.append(restore)

    def _skip(self) -> None:
        self.begin()
        values, batch = self._take_values(), self._take_batch()
        self.recorder.skip(batch=batch, values=values, reason="the gradients overflowed", epoch=self.epoch)


def attach(
    folder: Path | str,
    model: Any = None,
    *,
    gradients: bool = False,
    optimizer_state: bool = False,
    first_step: int | None = None,
    **options: Any,
) -> Attached:
    """Record every optimizer step of this process below ``folder``; ``options`` are those of ``Recorder``.

    Without ``model``, it is the smallest live module that holds the first optimizer's parameters.

    Raises:
        ArtifactError: only with ``strict=True``, as ``Recorder.begin``.
    """
    stated = [name for name, wanted in (("gradients", gradients), ("optimizer", optimizer_state)) if wanted]
    recorder = Recorder(folder, commits=stated, **(_ranks() | options))
    attached = Attached(
        recorder, unwrap(model), gradients=gradients, optimizer_state=optimizer_state, first_step=first_step
    )  # fmt: skip
    attached.hook()
    if model is not None:
        attached.begin()
    return attached


def list_tensors(named: Mapping[str, Any]) -> Iterator[Memory]:
    """Yield tensors as memory: in place on a CPU where they are contiguous, else copied there."""
    torch: Any = import_module("torch")

    with torch.no_grad():
        for name, value in named.items():
            tensor = value.detach()
            if hasattr(tensor, "to_local"):
                tensor = tensor.to_local()
            if tensor.device.type != "cpu":
                tensor = tensor.cpu()
            tensor = tensor.contiguous()
            dtype = str(tensor.dtype).partition(".")[2]
            size = tensor.numel() * tensor.element_size()
            memory = _memory(tensor, size) if size else memoryview(b"")
            yield Memory(name, _DTYPES.get(dtype, dtype.upper()), tuple(tensor.shape), memory)


def _memory(tensor: Any, size: int) -> memoryview:
    array = (ctypes.c_uint8 * size).from_address(tensor.data_ptr())
    array.keeps = tensor  # type: ignore[attr-defined]  # the memory lives as long as the view of it
    return memoryview(array).cast("B")


def find_model(optimizer: Any) -> Any:
    """Return the module whose checkpoint is wanted, or None.

    It is the outermost that has an optimizer's parameters and no others, else the smallest that has them all.
    """
    torch: Any = import_module("torch")

    wanted = {id(one) for group in optimizer.param_groups for one in group["params"]}
    found = list[tuple[int, Any]]()
    for one in gc.get_objects():
        if issubclass(type(one), torch.nn.Module):  # isinstance asks proxies, and some warn when they are asked
            held = {id(value) for value in one.parameters()}
            if wanted <= held:
                found.append((-sum(1 for _ in one.modules()), one) if held == wanted else (len(held), one))
    return unwrap(min(found, key=lambda pair: pair[0])[1]) if found else None


def unwrap(model: Any) -> Any:
    """Return the module inside ``DistributedDataParallel``, ``DataParallel`` and ``torch.compile``.

    Its names are those that its checkpoints have: what wraps it puts ``module.`` or ``_orig_mod.`` before each.
    """
    while (inside := _INSIDE.get(type(model).__name__)) and hasattr(model, inside):
        model = getattr(model, inside)
    return model


def rng_digest() -> bytes:
    """Return the commitment to the state of torch's CPU generator."""
    torch: Any = import_module("torch")

    hasher = new_hasher()
    for one in list_tensors({"rng": torch.get_rng_state()}):
        hasher.update(one.data)
    return bytes(hasher.digest())


def gather_roots(root: bytes) -> list[bytes]:
    """Return the 32-byte roots of all ranks, in order: one ``all_gather`` (``glasslog.custody.merge_ranks``)."""
    torch: Any = import_module("torch")
    distributed: Any = import_module("torch.distributed")

    mine = torch.frombuffer(bytearray(root), dtype=torch.uint8)
    parts = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, mine)
    return [bytes(part.tolist()) for part in parts]


def _ranks() -> dict[str, Any]:
    distributed: Any = import_module("torch.distributed")

    if not (distributed.is_available() and distributed.is_initialized()):
        return {}
    rank = distributed.get_rank()
    return {"world_size": distributed.get_world_size(), "rank": rank, "name": f"rank{rank}"}
