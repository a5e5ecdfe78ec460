"""Statements to a node from Python: typed, in batches or as a stream, tried again, kept where no node is reachable.

::

    with Client("net/lab-1.example/config.toml", spool=Path("spool")) as client:
        receipt, = client.submit([statement], wait=True)
        print(receipt.index(0), receipt.prove(0))

What is submitted goes under a key made from its bytes (``glasslog_lab.spool``), so trying again, in this process or in
another, never enters it twice. With a spool it is durable there before anything is sent, and stays there until a node
has taken it. Without one, what no node takes is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal, Self, TypeAlias, cast

import httpx
import tenacity

from glasslog.errors import ProtocolError
from glasslog.statement import Statement, encode_statement
from glasslog_lab.errors import ArtifactError
from glasslog_lab.node_address import UNIX_PREFIX, NodeAddress, find_node
from glasslog_lab.spool import BATCH_BYTES_MAX, BATCH_STATEMENTS_MAX, Spool, Waiting, is_ours, pack

PATIENCE_SECONDS = 5.0
POLL_SECONDS = 30
_ANSWER_BYTES_MAX = 16 << 20
_FOR_GOOD = {400, 409, 413, 415, 422}  # what no second attempt changes
_FOR_NOW = {408, 429, 502, 503, 504}
_BACKOFF: Callable[[tenacity.RetryCallState], float] = tenacity.wait_exponential_jitter(
    multiplier=0.1, max=5.0, jitter=0.1
)
State: TypeAlias = Literal["spooled", "taken", "published"]


class ClientError(ArtifactError):
    """A node refused, or did not answer. ``status`` is the HTTP status, 0 where there was no answer."""

    def __init__(self, code: str, fact: str, next_step: str, *, status: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(code, fact, next_step)
        self.status = status
        self.retry_after = retry_after

    @property
    def is_offline(self) -> bool:
        """Whether trying later may help: nothing is wrong with what was sent."""
        return self.status == 0 or self.status in _FOR_NOW

    @property
    def is_for_good(self) -> bool:
        """Whether the node will refuse these bytes every time."""
        return self.status in _FOR_GOOD


@dataclass(frozen=True, slots=True)
class Run:
    """``count`` entries of the author from ``number``, which stand in the log from ``index``."""

    number: int
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one submission. ``ids`` are its statements' in order; empty where it is sealed or signed."""

    submission: str
    ids: tuple[str, ...]
    state: State
    runs: tuple[Run, ...] = ()
    checkpoint: int | None = None

    @property
    def taken(self) -> bool:
        """Whether a node has it durably."""
        return self.state != "spooled"

    def index(self, position: int) -> int | None:
        """Return the log index of the statement at ``position``, counted from 0; None before it is final."""
        for run in self.runs:
            if position < run.count:
                return run.index + position
            position -= run.count
        return None

    def prove(self, position: int) -> str:
        """Return the command that fetches the proof of the statement at ``position``."""
        return f"glasslog prove {self.submission}/{position} -o bundle"

    def describe(self) -> dict[str, Any]:
        """Return the receipt as a JSON object."""
        return {
            "submission": self.submission, "state": self.state, "statements": list(self.ids),
            "runs": [{"number": run.number, "index": run.index, "count": run.count} for run in self.runs],
            "checkpoint": self.checkpoint,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """Return the receipt for people: ids, where they stand, and how to prove them."""
        shown = [self._line(position, name) for position, name in enumerate(self.ids[:20])]
        if len(self.ids) > len(shown):
            shown.append(f"… and {len(self.ids) - len(shown)} more in submission {self.submission}")
        if not self.ids:
            shown.append(f"submission {self.submission}")
        if self.state == "published":
            shown.append(f"published by the checkpoint of size {self.checkpoint}. Next: {self.prove(0)}")
        elif self.state == "taken":
            shown.append(f"durably taken by the node. Next: {self.prove(0)}, once it is published")
        else:
            shown.append(f"kept in the spool. Next: glasslog submit SPOOL --wait, then {self.prove(0)}")
        return shown

    def _line(self, position: int, name: str) -> str:
        index = self.index(position)
        return f"statement {name}" + ("" if index is None else f" at log index {index}")


@dataclass(frozen=True, slots=True)
class Drained:
    """What sending a spool came to: receipts, and what is wrong with what is left."""

    receipts: tuple[Receipt, ...]
    problems: tuple[ArtifactError, ...]


class Client:
    """Submits to one node, to a spool, or to a node by way of a spool. Not for several threads at once."""

    def __init__(
        self,
        node: str | NodeAddress | None = None,
        *,
        token_file: Path | None = None,
        spool: Path | None = None,
        patience: float = PATIENCE_SECONDS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Take a node's address or configuration file, a spool's folder, or both; neither is an error.

        ``patience`` is for how many seconds a node that does not answer is tried again. ``transport`` and ``sleep``
        replace the network and the waiting, for tests.

        Raises:
            ArtifactError: CLIENT-03, CLIENT-06.
        """
        if node is None and spool is None:
            raise ArtifactError("CLIENT-03", "neither a node nor a spool is named", "add --node or --spool")
        self.spool = None if spool is None else Spool(spool)
        self._node: _Node | None = None
        if node is not None:
            address = find_node(node, token_file) if isinstance(node, str) else node
            self._node = _Node(address, patience, transport, sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections. What is in the spool stays there."""
        if self._node is not None:
            self._node.close()

    def submit(self, statements: Sequence[Statement], *, wait: bool = False) -> list[Receipt]:
        """Submit statements, in as few submissions as they fit in; with ``wait`` return once they are published.

        Raises:
            ArtifactError: STMT-nn one is no statement, and nothing was sent or kept; SPOOL-01 the spool cannot be
                written; ClientError, the node refuses them or, without a spool, does not answer.
        """
        try:
            items = [encode_statement(one) for one in statements]
        except ProtocolError as error:
            raise ArtifactError(error.code, error.fact, "correct it; nothing was sent") from error
        return self.submit_encoded(items, wait=wait)

    def submit_encoded(self, items: Sequence[bytes], *, wait: bool = False, apart: bool = False) -> list[Receipt]:
        """Submit statements that are canonical CBOR already, ``apart`` each for itself; otherwise as ``submit``."""
        batches = [batch for item in items for batch in pack([item])] if apart else list(pack(items))
        if self.spool is not None:
            for batch in batches:
                self.spool.put(batch)
        receipts = [Receipt(batch.key, batch.ids, "spooled") for batch in batches]
        if self._node is None:
            return receipts
        try:
            for at, batch in enumerate(batches):
                receipts[at] = self._send(batch)
            if wait:
                receipts = [self._await(batch.key, batch.ids) for batch in batches]
        except ClientError as error:
            if self.spool is None or not error.is_offline:
                raise
        return receipts

    def stream(self, *, count: int = BATCH_STATEMENTS_MAX, seconds: float = 1.0) -> Stream:
        """Return a stream: statements given one by one, submitted ``count`` at a time or after ``seconds``."""
        return Stream(self, count, seconds)

    def send_spool(self, *, wait: bool = False, on_receipt: Callable[[Receipt], None] = lambda _: None) -> Drained:
        """Send everything in the spool, oldest first; what is damaged or refused does not keep the rest.

        Can be stopped anywhere and called again. With ``wait``, submissions that an earlier call left with the node
        are followed too.

        Raises:
            ArtifactError: SPOOL-01, SPOOL-02; ClientError where the node does not answer or lets nobody write.
        """
        if self.spool is None or self._node is None:
            raise ArtifactError("CLIENT-03", "sending a spool needs the spool and a node", "name both")
        problems = self.spool.take_in()
        receipts = list[Receipt]()
        for name in self.spool.names():
            if not is_ours(self.spool.folder / name):
                continue  # what could not be taken in has been said
            try:
                item = self.spool.read(name)
                if item is not None:
                    receipts.append(self._send(item))
                    on_receipt(receipts[-1])
            except ClientError as error:
                if not error.is_for_good:
                    raise
                problems.append(error)
            except ArtifactError as error:
                if error.code == "SPOOL-01":
                    raise
                problems.append(error)
        if wait:
            receipts = list[Receipt]()
            for key, ids in self.spool.unpublished():
                receipts.append(self._await(key, ids))
                on_receipt(receipts[-1])
        return Drained(tuple(receipts), tuple(problems))

    def _send(self, item: Waiting) -> Receipt:
        assert self._node is not None, "asked only where there is a node"
        try:
            self._node.post(item)
        except ClientError as error:
            if self.spool is not None and error.is_for_good:
                self.spool.refuse(item, error)
            raise
        receipt = Receipt(item.key, item.ids, "taken")
        if self.spool is not None:
            self.spool.settle(item, receipt.describe())
        return receipt

    def _await(self, key: str, ids: tuple[str, ...]) -> Receipt:
        assert self._node is not None, "asked only where there is a node"
        receipt = self._node.follow(key, ids)
        if self.spool is not None:
            self.spool.publish(key, receipt.describe())
        return receipt


class Stream:
    """Statements given one by one. What was given and not submitted yet is lost with the process: ``flush`` to be sure.

    Nothing runs in the background: time is looked at when a statement is given.
    """

    def __init__(self, client: Client, count: int, seconds: float) -> None:
        self._client = client
        self._count = count
        self._seconds = seconds
        self._items = list[bytes]()
        self._bytes = 0
        self._since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.flush()

    def send(self, statement: Statement) -> list[Receipt]:
        """Take one statement; return the receipts of what was submitted with it, mostly none.

        Raises:
            ArtifactError: as ``Client.submit``; of a statement that is none nothing is taken.
        """
        try:
            item = encode_statement(statement)
        except ProtocolError as error:
            raise ArtifactError(error.code, error.fact, "correct it; it was not taken") from error
        if not self._items:
            self._since = monotonic()
        self._items.append(item)
        self._bytes += len(item)
        due = len(self._items) >= self._count or self._bytes >= BATCH_BYTES_MAX
        return self.flush() if due or monotonic() - self._since >= self._seconds else []

    def flush(self) -> list[Receipt]:
        """Submit what was given; what fails is still there to be flushed again. Raises as ``Client.submit``."""
        receipts = self._client.submit_encoded(self._items)
        self._items, self._bytes = [], 0
        return receipts


class _Node:
    """The two questions a client asks a node, each again for a while where there is no answer."""

    def __init__(
        self,
        address: NodeAddress,
        patience: float,
        transport: httpx.BaseTransport | None,
        sleep: Callable[[float], None] | None,
    ) -> None:
        headers = {} if address.token is None else {"authorization": f"Bearer {address.token}"}
        unix = address.url.startswith(UNIX_PREFIX)
        if unix and transport is None:
            transport = httpx.HTTPTransport(uds=address.url[len(UNIX_PREFIX) :])
        self._name = address.url
        try:
            self._http = httpx.Client(
                base_url="http://node" if unix else address.url, transport=transport, headers=headers, timeout=30.0,
                trust_env=False,  # a proxy from the environment would see the token
            )  # fmt: skip
        except (httpx.InvalidURL, ValueError) as error:
            raise ArtifactError(
                "CLIENT-03", f"{address.url} is no address: {error}", "give http://HOST:PORT"
            ) from error
        self._attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, ClientError) and error.is_offline),
            wait=_wait,
            stop=tenacity.stop_after_delay(patience),
            reraise=True,
            sleep=sleep or tenacity.nap.sleep,
        )

    def close(self) -> None:
        self._http.close()

    def post(self, item: Waiting) -> None:
        """Submit; returns once it is durably taken."""
        headers = {"content-type": item.media_type, "idempotency-key": item.key}
        answer = self._ask("POST", "/v1/submissions", content=item.body, headers=headers)
        if answer.get("submission") != item.key or (item.ids and answer.get("count") != len(item.ids)):
            raise _strange(self._name, 200)

    def follow(self, key: str, ids: tuple[str, ...]) -> Receipt:
        """Return the receipt once it is published."""
        path = f"/v1/submissions/{key}?wait=published&timeout={POLL_SECONDS}"
        while True:
            state = self._ask("GET", path, timeout=POLL_SECONDS + 10)
            if state.get("state") == "published":
                return _read_receipt(key, ids, state, self._name)

    def _ask(self, method: str, path: str, **how: Any) -> Mapping[str, Any]:  # noqa: ANN401 - passed to httpx as it is
        return self._attempts(self._ask_once, method, path, **how)

    def _ask_once(self, method: str, path: str, **how: Any) -> Mapping[str, Any]:  # noqa: ANN401 - as above
        try:
            response = self._http.request(method, path, **how)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            fact = f"no answer from {self._name}: {str(error) or type(error).__name__}"
            raise ClientError("CLIENT-01", fact, "start the node, or keep statements with --spool FOLDER") from error
        try:
            value: object = json.loads(response.content[:_ANSWER_BYTES_MAX])
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise _strange(self._name, response.status_code)
        answer = cast("Mapping[str, Any]", value)
        if response.is_success:
            return answer
        try:
            code, fact, step = str(answer["code"]), str(answer["fact"]), str(answer["next"])
        except KeyError:
            raise _strange(self._name, response.status_code) from None
        after = response.headers.get("retry-after", "")
        seconds = float(after) if after.isascii() and after.isdigit() and len(after) < 5 else 0.0
        raise ClientError(code, fact, step, status=response.status_code, retry_after=seconds)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next attempt: what the node asked for, or 0.1 doubling up to 5, with jitter."""
    error = None if state.outcome is None else state.outcome.exception()
    asked = error.retry_after if isinstance(error, ClientError) else 0.0
    return max(asked, _BACKOFF(state))


def _read_receipt(key: str, ids: tuple[str, ...], state: Mapping[str, Any], name: str) -> Receipt:
    try:
        runs = tuple(Run(int(run["number"]), int(run["index"]), int(run["count"])) for run in state["runs"])
        return Receipt(key, ids, "published", runs, int(state["checkpoint"]))
    except (KeyError, TypeError, ValueError):
        raise _strange(name, 200) from None


def _strange(name: str, status: int) -> ClientError:
    return ClientError(
        "CLIENT-02", f"{name} answered {status}, not as a glasslog node does", "check the address", status=status
    )
