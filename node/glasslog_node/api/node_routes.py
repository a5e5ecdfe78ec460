"""What the institute's own clients may do: submit batches, follow them, ask the node about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from glasslog_node.api.reads import bundle_response
from glasslog_node.api.requests import (
    CBOR,
    COSE,
    JSON,
    NDJSON,
    SEALED,
    BodyLimits,
    check_token,
    read_body,
    read_idempotency_key,
    read_media_type,
    read_number,
)
from glasslog_node.batches import (
    read_cbor_batch,
    read_cose_batch,
    read_json_batch,
    read_ndjson_batch,
    read_sealed_batch,
)
from glasslog_node.errors import RequestError
from glasslog_node.seams import Desk, LogReader, NodeView, Stage, SubmissionState, state_value, status_value
from glasslog_node.telemetry import METRICS_CONTENT_TYPE, Metrics

BODIES_AT_ONCE = 8  # bounds the memory that bodies take: this many times the body limit
_READERS = {
    JSON: read_json_batch,
    NDJSON: read_ndjson_batch,
    CBOR: read_cbor_batch,
    COSE: read_cose_batch,
    SEALED: read_sealed_batch,
}
_STAGES = {stage.name.lower(): stage for stage in Stage}


@dataclass(frozen=True)
class Writes:
    """The running node, and what its clients are allowed. ``wait_seconds_max`` bounds a long poll."""

    desk: Desk
    node: NodeView
    metrics: Metrics
    token: str = field(repr=False)
    limits: BodyLimits
    wait_seconds_max: float


def node_routes(writes: Writes, reader: LogReader) -> list[Route]:
    """Return the routes that only this institute's own clients may reach."""
    slots = trio.CapacityLimiter(BODIES_AT_ONCE)

    async def submit(request: Request) -> Response:
        # Everything that costs nothing is refused before a byte of the body is read.
        check_token(request, writes.token)
        media_type = read_media_type(request)
        key = read_idempotency_key(request)
        async with slots:
            body = await read_body(request, writes.limits)
            receipt = await writes.desk.submit(_READERS[media_type](body), key=key)
        if not receipt.repeated:
            writes.metrics.accepted.inc(receipt.count)
        value = {"submission": receipt.submission, "count": receipt.count, "repeated": receipt.repeated}
        return _json(value, status=202, headers={"location": f"/v1/submissions/{receipt.submission}"})

    async def follow(request: Request) -> Response:
        submission = request.path_params["submission"]
        state = _state(writes.desk, submission)
        stage, seconds = _read_wait(request, writes.wait_seconds_max)
        if state.stage < stage:
            with trio.move_on_after(seconds):
                state = await writes.desk.wait(submission, stage) or state
        return _json(state_value(writes.desk.state(submission) or state))

    async def prove(request: Request) -> Response:
        state = _state(writes.desk, request.path_params["submission"])
        position = read_number(request.path_params["position"], "the position")
        if position >= state.count:
            fact = f"the submission has {state.count} entries, none at position {position}"
            raise RequestError("HTTP-10", fact, "count from 0", status=404)
        return bundle_response(reader, state.index(position))

    async def status(_request: Request) -> Response:
        return _json({**status_value(writes.node.status()), "why": list(writes.node.why())})

    async def ready(_request: Request) -> Response:
        reason = writes.node.unready()
        if reason is not None:
            raise RequestError("HTTP-08", reason, "glasslog status --why", status=503)
        return _json({"ready": True, "published": reader.published_size()})

    async def metrics(_request: Request) -> Response:
        return Response(writes.metrics.text(), headers={"content-type": METRICS_CONTENT_TYPE})

    return [
        Route("/v1/submissions", submit, methods=["POST"]),
        Route("/v1/submissions/{submission}", follow),
        Route("/v1/submissions/{submission}/bundles/{position}", prove),
        Route("/v1/status", status),
        Route("/ready", ready),
        Route("/metrics", metrics),
    ]


def _state(desk: Desk, submission: str) -> SubmissionState:
    state = desk.state(submission)
    if state is None:
        fact = "there is no such submission"
        raise RequestError("HTTP-10", fact, "use the `submission` of a 202 answer", status=404)
    return state


def _read_wait(request: Request, seconds_max: float) -> tuple[Stage, float]:
    """Return the stage that ``?wait=`` names and the seconds that ``?timeout=`` grants."""
    wait = request.query_params.get("wait")
    if wait is None:
        return Stage.SPOOLED, 0.0
    stage = _STAGES.get(wait)
    if stage is None:
        raise RequestError("HTTP-13", f"cannot wait for {wait[:40]!r}", f"use one of {', '.join(_STAGES)}", status=400)
    text = request.query_params.get("timeout", "30")
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise RequestError("HTTP-13", "timeout is not a number of seconds", "use timeout=30", status=400)
    return stage, min(float(text), seconds_max)


def _json(value: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, media_type="application/json")
