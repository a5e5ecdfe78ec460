"""``Recorder``: what a training calls. It never raises into, blocks or ends a training (specs/custody.md, C7)."""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from glasslog.custody import STATES, Chain, Counts, Event, Kind, Level, RunStart
from glasslog_lab.errors import ArtifactError
from glasslog_lab.recorder.digests import Form, Memory, batch_digest, content_root, content_root_and_form
from glasslog_lab.recorder.environment import describe_environment
from glasslog_lab.recorder.journal import Journal, JournalFile, read_journal
from glasslog_lab.recorder.writing import Writer

CLOSE_SECONDS = 10.0
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")

Tensors = Iterable[Memory] | bytes | None  # tensors in memory, or the root somebody computed, or not committed


class Recorder:
    """Records one run of one process into ``folder/<name>.journal``, from which its statements are made.

    ``every`` records (a step or a skip is one), ``seconds`` or a checkpoint end a segment. With ``strict``
    a folder that cannot be written, or a damaged journal, is an error at ``begin``; afterwards and otherwise faults
    become declared gaps and one warning.

    ``commits`` are the states besides the parameters, ``gradients`` and ``optimizer``, that every step has to have.
    What the run commits to before its first update: ``seed``; ``data_order``, the digest of the order of the data;
    ``dataset``, its records' root; ``hyperparameters``. ``world_size`` and ``rank`` say which process this is.

    Raises:
        ArtifactError: RECORD-06 no such name, level, ``every`` or ``seconds``.
        ValueError: no such ``commits``.
    """

    def __init__(  # noqa: PLR0913  what a run commits to, each by its name
        self,
        folder: Path | str,
        name: str = "run",
        *,
        level: Level = Level.L2,
        commits: Collection[str] = (),
        every: int = 100,
        seconds: float = 60.0,
        strict: bool = False,
        seed: int | None = None,
        data_order: bytes | None = None,
        dataset: bytes | None = None,
        hyperparameters: Mapping[str, str] | None = None,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise _unfit(f"a run is named in letters, digits, '.', '_' and '-', not {name!r:.60}")
        if every < 1 or not seconds > 0:
            raise _unfit(f"a segment of {every} records or {seconds} seconds")
        if level not in list(Level):
            raise _unfit(f"level {level!r:.20}")
        self.level = level = Level(level)  # a plain number where it comes from a command line
        self._folder, self._name = Path(folder), name
        self._every, self._seconds, self._strict = every, seconds, strict
        self._start = RunStart(
            name=name, level=level, commits=_commits(level, commits), salt=secrets.token_bytes(32),
            started=int(time.time()), seed=seed, data_order=data_order, dataset=dataset, world_size=world_size,
            rank=rank, hyperparameters=dict(hyperparameters or {}),
        )  # fmt: skip
        self._writer: Writer | None = None
        self._step = 0
        self._pid = os.getpid()
        self._began = self._spent = 0.0
        self._warned = False
        self._line = ""
        self._last_root: bytes | None = None
        self._form: Form | None = None
        self._path: Path | None = None
        self._counts = Counts()
        self._changed = False
        self._outside = 0  # what came before the beginning or after the close

    # --- a run -------------------------------------------------------------------------------------

    def begin(self, params: Tensors = None, *, first_step: int | None = None) -> Self:
        """Commit to what is known before the first update. Where a journal is open, the run is resumed.

        ``first_step`` is the step that comes next; without it, it is the one behind the recorded step that has
        these parameters.

        Raises:
            ArtifactError: only with ``strict``: RECORD-01 to RECORD-05.
        """
        self._began = time.perf_counter()
        try:
            self._begin(self._initial_root(params), first_step)
        except Exception as error:
            if self._strict:
                raise error if isinstance(error, ArtifactError) else _unusable(error) from error
            self._warn(f"{type(error).__name__}: {error}")
        return self

    def step(  # noqa: PLR0913  what a step commits to, each by its name
        self,
        params: Tensors = None,
        *,
        batch: Tensors = None,
        gradients: Tensors = None,
        optimizer: Tensors = None,
        rng: bytes | None = None,
        values: Mapping[str, float] | None = None,
        tokens: int = 0,
        flop: int = 0,
        epoch: int = 0,
    ) -> None:
        """Record one update, after it was made and before the next: at L2 ``params`` are hashed here."""
        self._step += 1
        self._put(
            Kind.STEP,
            lambda: Event(
                kind=Kind.STEP, step=self._step, epoch=epoch, batch=_batch(batch), rng=rng, gradients=_root(gradients),
                params=self._params_root(params), optimizer=_root(optimizer), tokens=tokens, flop=flop,
                values=_floats(values),
            )
        )  # fmt: skip

    def skip(
        self, *, batch: Tensors = None, values: Mapping[str, float] | None = None, reason: str = "", epoch: int = 0
    ) -> None:
        """Record an attempt that changed nothing, e.g. after an overflow of scaled gradients."""
        step = self._step + 1
        self._put(
            Kind.SKIP,
            lambda: Event(
                kind=Kind.SKIP, step=step, epoch=epoch, batch=_batch(batch), values=_floats(values), reason=reason[:200]
            ),
        )

    def checkpoint(self, params: Tensors = None, optimizer: Tensors = None) -> None:
        """Record that the state after the last step was kept; without ``params``, those of the last step."""
        root = params if params is not None else self._last_root
        self._put(
            Kind.CHECKPOINT,
            lambda: Event(
                kind=Kind.CHECKPOINT, step=self._step, params=self._params_root(root), optimizer=_root(optimizer)
            ),
        )

    def rollback(self, to_step: int, params: Tensors = None, reason: str = "") -> None:
        """Record that the training went back to the state after ``to_step``."""
        count, self._step = self._step - to_step, to_step
        self._put(
            Kind.ROLLBACK,
            lambda: Event(
                kind=Kind.ROLLBACK, step=to_step + 1, count=count, params=self._params_root(params), reason=reason[:200]
            ),
        )

    def close(self) -> str:
        """End the run and return the closing line. Waits at most ten seconds for the disk."""
        writer = self._writer
        if writer is None or os.getpid() != self._pid:
            outside = f"; {self._outside:,} calls came when no run was being recorded" if self._outside else ""
            return (self._line or "not recorded") + outside
        self._put(Kind.CLOSE, lambda: Event(kind=Kind.CLOSE, step=self._step))
        elapsed = time.perf_counter() - self._began
        share = 100 * self._spent / elapsed if elapsed else 0.0
        done = writer.finish(CLOSE_SECONDS)
        self._writer = None
        self._counts = writer.counts
        if writer.faults:
            self._warn(writer.faults[-1])
        self._line = closing_line(writer.counts, share) + ("" if done else "; the last records are not written")
        return self._line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def steps(self) -> int:
        """The number of the last step."""
        return self._step

    @property
    def began(self) -> bool:
        """Whether a run is being recorded."""
        return self._writer is not None

    @property
    def path(self) -> Path | None:
        """The journal, None before a run has begun."""
        return self._path

    @property
    def counts(self) -> Counts:
        """What was written until now: steps, skips, gaps and seams. The last events may still be on their way."""
        return self._counts if self._writer is None else self._writer.counts

    def fault(self, error: Exception) -> None:
        """Take note of a fault in what feeds this recorder: the step it concerns becomes a gap."""
        self._warn(f"{type(error).__name__}: {error}")

    # --- inside --------------------------------------------------------------------------------------

    def _begin(self, root: bytes | None, first_step: int | None) -> None:
        self._start = replace(self._start, initial_params=root, environment=describe_environment())
        resumed: Journal | None = None
        path = self._folder / f"{self._name}.journal"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path, resumed = self._find(root, first_step)
        except (OSError, ArtifactError) as error:
            if self._strict:
                raise
            self._warn(str(error))
        chain = resumed.chain if resumed else Chain(self._start)
        self._path = path
        file = JournalFile(path, resumed.size if resumed else 0)
        try:
            file.open(chain.start)
        except OSError as error:
            if self._strict:
                raise
            self._warn(str(error))
        self._writer = Writer(chain, file, every=self._every, seconds=self._seconds)
        if resumed:
            self._writer.counts = resumed.counts
            self._resume(resumed, root, first_step)

    def _initial_root(self, params: Tensors) -> bytes | None:
        try:
            return self._params_root(params)
        except Exception as error:
            if self._strict:
                raise
            self._warn(f"{type(error).__name__}: {error}")
            return None

    def _find(self, root: bytes | None, first_step: int | None) -> tuple[Path, Journal | None]:
        """Return the journal to go on with, or the first name that is free."""
        number = 1
        while True:
            stem = self._name if number == 1 else f"{self._name}-{number}"
            path = self._folder / f"{stem}.journal"
            number += 1
            if not path.exists():
                return path, None
            try:
                journal = read_journal(path)
            except ArtifactError as error:
                if self._strict:
                    raise
                self._warn(str(error))
                continue
            known = root is not None and bool(journal.chain.known.find(root))
            if (not journal.chain.closed or known or (first_step or 1) > 1) and not _is_locked(path):
                return path, journal

    def _resume(self, journal: Journal, root: bytes | None, first_step: int | None) -> None:
        chain = journal.chain
        reason = f"{journal.torn} torn bytes were cut; " if journal.torn else ""
        reason += "after a close" if chain.closed else "the process before it ended without closing"
        if first_step is None:
            found = None if root is None else chain.known.find(root)
            first_step = (chain.step if found is None else found) + 1
            if found is None and root is not None:
                reason += "; its parameters are none of those recorded"
        elif root is not None and chain.known[first_step - 1] not in (None, root):
            reason, root = f"{reason}; its parameters differ from those of step {first_step - 1}", None
        if first_step == chain.step + 1 and chain.known[chain.step] not in (None, root):
            root = None
        self._step = first_step - 1
        count = max(0, chain.step + 1 - first_step)
        event = Event(kind=Kind.RESUME, step=first_step, count=count, params=root, reason=reason[:200])
        self._put(Kind.RESUME, lambda: event)

    def _params_root(self, tensors: Tensors) -> bytes | None:
        if tensors is None or isinstance(tensors, bytes):
            return tensors
        root, form = content_root_and_form(tensors)
        self._changed = self._form not in (None, form)
        self._form = form
        return root

    def _put(self, kind: Kind, make: Callable[[], Event]) -> None:
        """Measure, make and hand over an event; whatever fails is a gap and a warning."""
        began = time.perf_counter()
        writer = self._writer
        try:
            if writer is None:
                self._outside += 1
                self._warn(f"no run is open: {'close was called before' if self._line else 'begin was not called'}")
            elif os.getpid() == self._pid:
                self._hand_over(writer, kind, make)
        except Exception as error:  # noqa: BLE001  a training goes on, whatever is wrong with its recorder
            self._warn(f"{type(error).__name__}: {error}")
        self._spent += time.perf_counter() - began

    def _hand_over(self, writer: Writer, kind: Kind, make: Callable[[], Event]) -> None:
        self._changed = False
        try:
            event = make()
        except Exception as error:
            if kind is not Kind.STEP:  # a step's number shows that it is missing
                self._put_gap(writer, self._step + 1, f"{type(error).__name__}: {error}")
            raise
        if kind is Kind.STEP or event.params is not None:
            self._last_root = event.params
        fact = "the tensors are not those of the step before, so updates of some are not recorded"
        if self._changed and kind is not Kind.ROLLBACK:
            self._put_gap(writer, event.step + (kind is not Kind.STEP), fact)
        writer.put(event)
        if self._changed and kind is Kind.ROLLBACK:
            self._put_gap(writer, event.step, fact)
        if writer.faults:
            self._warn(writer.faults[-1])

    def _put_gap(self, writer: Writer, step: int, reason: str) -> None:
        """Declare that something is missing which no number shows."""
        writer.put(Event(kind=Kind.GAP, step=step, count=0, reason=reason[:200]))
        self._warn(reason)

    def _warn(self, fact: str) -> None:
        if self._warned:
            return
        self._warned = True
        line = f"RECORD-05 {fact}. The training goes on; what is lost becomes a declared gap.\n"
        try:
            sys.stderr.write(line)
        except (OSError, ValueError):
            return


def closing_line(counts: Counts, share: float) -> str:
    """Return e.g. ``10,000 steps, 12 skipped, 0 gaps, 0.6 % of step time``; ``share`` in per cent."""
    return f"{describe_counts(counts)}, {share:.1f} % of step time"


def describe_counts(counts: Counts) -> str:
    """Return the counts of a run in words."""
    missing = f" of {counts.missing:,} steps" if counts.missing else ""
    seams = f", {counts.resumes} resumed" if counts.resumes else ""
    back = f", {counts.rollbacks} rolled back" if counts.rollbacks else ""
    unbound = f", {counts.unbound} times from parameters that are not recorded" if counts.unbound else ""
    return f"{counts.steps:,} steps, {counts.skips:,} skipped, {counts.gaps} gaps{missing}{seams}{back}{unbound}"


def _commits(level: Level, more: Collection[str]) -> tuple[str, ...]:
    wanted = {*more, *(STATES[:1] if level is Level.L2 else ())}
    if (level is not Level.L2 and STATES[0] in wanted) or not wanted <= set(STATES):
        raise ValueError(f"commits are some of {', '.join(STATES[1:])}; the level says whether parameters are")
    return tuple(state for state in STATES if state in wanted)


def _root(tensors: Tensors) -> bytes | None:
    return tensors if tensors is None or isinstance(tensors, bytes) else content_root(tensors)


def _batch(tensors: Tensors) -> bytes | None:
    return tensors if tensors is None or isinstance(tensors, bytes) else batch_digest(tensors)


def _floats(values: Mapping[str, float] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (values or {}).items()}


def _is_locked(path: Path) -> bool:
    import fcntl

    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _unfit(fact: str) -> ArtifactError:
    return ArtifactError("RECORD-06", f"{fact} cannot be recorded", "mend what the recorder is made with")


def _unusable(error: Exception) -> ArtifactError:
    return ArtifactError("RECORD-05", f"the recorder cannot begin: {error}", "name a folder that can be written")
