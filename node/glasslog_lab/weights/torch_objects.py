"""The tensors of a checkpoint by the names their state dict gives them, the model's apart from the optimizer's.

Rules (K4): a dict, list or object is walked in order and names are joined by dots; a pickled module's
``_parameters``, ``_buffers`` and ``_modules`` add nothing to a name, as in PyTorch's ``state_dict``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from glasslog_lab.weights.layout import TENSORS_MAX, Role
from glasslog_lab.weights.pickles import Made, OddKey, Value, is_dict, is_holder, is_list, is_tuple
from glasslog_lab.weights.refusals import refuse
from glasslog_lab.weights.torch_tensors import TensorValue, read_tensor

DEPTH_MAX = 64
VISITS_MAX = 1_000_000
STATE_DICT_KEYS = ("state_dict", "model_state_dict")
MODEL_KEYS = frozenset({"model", "model_state", "module", "net", "network", "weights", "params"})
_TRAINING = re.compile(r"optim|sched|scaler|(^|_)rng|random|(^|_)amp($|_)|(^|_)ema($|_)", re.IGNORECASE)
_MOMENTS = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta"}
_MODULE_PARTS = {"_parameters", "_buffers", "_modules"}
_STATE = {"state", "param_groups"}
_RANDOM = {"python", "numpy", "cpu"}


class Found(NamedTuple):
    """A tensor where it was found: its path from the root, and whether something on the way says optimizer state."""

    path: tuple[str, ...]
    tensor: TensorValue
    training: bool


def list_tensors(root: Value) -> list[tuple[str, TensorValue, Role]]:
    """Return the tensors of a checkpoint with their names and roles, in the order they stand.

    Raises:
        ArtifactError: WEIGHTS-31 too many or too deep, WEIGHTS-33 and WEIGHTS-16 as ``read_tensor``.
    """
    found = list(_walk(root))
    wrapper = _find_wrapper(found) if _is_mapping(root) else ()
    depth = len(wrapper)
    listed = list[tuple[str, TensorValue, Role]]()
    for path, tensor, training in found:
        ours = not training and path[:depth] == wrapper
        listed.append((".".join(path[depth:] if ours else path), tensor, Role.MODEL if ours else Role.OPTIMIZER))
    return listed


def _is_mapping(root: Value) -> bool:
    return is_dict(root) or (isinstance(root, Made) and bool(root.entries))


def _find_wrapper(found: list[Found]) -> tuple[str, ...]:
    """Return the keys under which a checkpoint keeps its model: a state dict's key, or the only one with tensors."""
    wrapper = tuple[str, ...]()
    for _ in range(4):
        depth = len(wrapper)
        inside = [one.path for one in found if not one.training and one.path[:depth] == wrapper]
        if any(len(path) == depth + 1 for path in inside):
            break
        heads = {path[depth] for path in inside}
        stated = [key for key in STATE_DICT_KEYS if key in heads]
        if stated:
            wrapper = (*wrapper, stated[0])
        elif len(heads) == 1 and heads <= MODEL_KEYS:
            wrapper = (*wrapper, *heads)
        else:
            break
    return wrapper


def _walk(root: Value) -> Iterator[Found]:
    """Yield the tensors below a value, depth first in order; no value is visited within itself."""
    visits = tensors = 0
    stack: list[tuple[tuple[str, ...], Value, bool, frozenset[int]]] = [((), root, False, frozenset())]
    while stack:
        path, value, training, above = stack.pop()
        visits += 1
        if visits > VISITS_MAX:
            refuse("WEIGHTS-31", f"the pickle's values are reached on more than {VISITS_MAX} ways")
        if not is_holder(value) or id(value) in above:
            continue
        if isinstance(value, Made) and (tensor := read_tensor(value)) is not None:
            tensors += 1
            if tensors > TENSORS_MAX:
                refuse("WEIGHTS-15", f"holds more than {TENSORS_MAX} tensors")
            yield Found(path or ("tensor",), tensor, training)
            continue
        if len(path) >= DEPTH_MAX or len(above) >= 4 * DEPTH_MAX:
            refuse("WEIGHTS-31", f"the pickle's values are nested deeper than {DEPTH_MAX}")
        inside = above | {id(value)}
        below = training or _is_training_state(value)
        children = list(_children(value))
        visits += len(children)
        for name, child in reversed(children):
            if is_holder(child):
                marked = below or name in _MOMENTS or (not path and value is root and _says_training(root, name, child))
                stack.append((path if not name else (*path, name), child, marked, inside))


def _says_training(root: Value, name: str, child: Value) -> bool:
    """Whether a checkpoint's own key says that it is no part of the model; a tensor only beside a state dict."""
    if not _is_mapping(root) or _TRAINING.search(name) is None:
        return False
    if not isinstance(child, Made) or read_tensor(child) is None:
        return True
    entries = root.entries if isinstance(root, Made) else root
    return any(_is_mapping(entries.get(key)) for key in (*STATE_DICT_KEYS, *MODEL_KEYS))


def _is_training_state(value: Value) -> bool:
    """Whether a value looks like ``Optimizer.state_dict()`` or like the states of random generators."""
    entries: object = value.entries if isinstance(value, Made) else value
    if not is_dict(entries):
        return False
    return entries.keys() >= _STATE or entries.keys() >= _RANDOM


def _children(value: Value) -> Iterator[tuple[str, Value]]:
    """Yield what a value holds, with the part of a name it adds; an empty one adds none."""
    if is_dict(value):
        for key, child in value.items():
            yield (f"#{key.number}" if isinstance(key, OddKey) else str(key)), child
    elif is_list(value) or is_tuple(value):
        for at, child in enumerate(value):
            yield str(at), child
    elif isinstance(value, Made):
        yield from _children(value.entries)
        yield from _children(value.items)
        for state in value.states:
            yield from _state_children(state)
        if value.is_a("collections", "OrderedDict", "deque") or value.is_a("builtins", "set", "frozenset"):
            yield "", value.args


def _state_children(state: Value) -> Iterator[tuple[str, Value]]:
    parts = state if is_tuple(state) and len(state) == 2 else (state,)
    for part in cast("tuple[Any, ...]", parts):
        if not is_dict(part):
            yield "", part
            continue
        entries = part
        hidden = _list_hidden(entries.get("_non_persistent_buffers_set"))
        for name, child in _children(entries):
            if name not in _MODULE_PARTS:
                yield name, child
                continue
            for inner, grandchild in _children(child):
                if name != "_buffers" or inner not in hidden:
                    yield inner, grandchild


def _list_hidden(value: Value) -> set[str]:
    """Return the names of the buffers that PyTorch leaves out of a state dict."""
    if not isinstance(value, Made):
        return set()
    listed = [*value.items]
    if is_tuple(value.args):
        for one in value.args:
            listed += one if is_list(one) or is_tuple(one) else []
    return {name for name in listed if isinstance(name, str)}
