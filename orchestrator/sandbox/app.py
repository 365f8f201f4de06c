"""The API's routes: `/api/v1` as documented, `/outputs`, and `/_sandbox` for who runs it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.sandbox import media
from orchestrator.sandbox.engine import Behaviour, Status, draw
from orchestrator.sandbox.faults import Fault, FaultError, Faults, read
from orchestrator.sandbox.openapi import document
from orchestrator.sandbox.schema import InvalidRequestError
from orchestrator.sandbox.store import Key, Store, Task
from orchestrator.sandbox.tasks import Limits, Tasks

Handler = Callable[[Request], Awaitable[Response]]
DROP = 599
"""The status by which a route asks the server to close the connection without an answer."""


@dataclass
class Sandbox:
    """Everything the routes share."""

    behaviour: Behaviour
    limits: Limits
    store: Store
    tasks: Tasks
    faults: Faults
    root: str = ""
    url_lifetime: float | None = None
    requests: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Key id -> submits that were answered 429 because of a limit."""


def make_app(sandbox: Sandbox) -> Starlette:
    api = Api(sandbox)
    return Starlette(
        routes=[
            Route("/api/v1/tasks", api.submit, methods=["POST"]),
            Route("/api/v1/tasks/{task_id}", api.task),
            Route("/api/v1/tasks/{task_id}/events", api.events),
            Route("/outputs/{name}", api.output),
            Route("/_sandbox/ledger", api.ledger),
            Route("/_sandbox/faults", api.show_faults, methods=["GET"]),
            Route("/_sandbox/faults", api.set_faults, methods=["PUT"]),
            Route("/openapi.json", api.openapi),
        ],
        exception_handlers={404: _no_route, 405: _no_route},
    )


class Api:
    """The handlers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._s = sandbox

    async def submit(self, request: Request) -> Response:
        self._s.requests["posts"] += 1
        body = await request.body()
        key = self._key(request)
        if key is None:
            return _error(401, "unauthorized", "the API key is missing or not valid")
        idempotency_key = request.headers.get("idempotency-key")
        name = idempotency_key or hashlib.sha256(body).hexdigest()
        fault = self._s.faults.meet("submit", name, body.decode("utf-8", "replace"))
        if fault is not None and not fault.kind.endswith("_after_commit"):
            return await _suffer(fault)
        try:
            task, new = self._s.tasks.submit(body, key, idempotency_key, time.time())
        except InvalidRequestError as refused:
            self._s.refused[key.id] += refused.status == 429
            headers = {"Retry-After": "1"} if refused.status == 429 else {}
            return _error(refused.status, refused.code, str(refused), headers)
        if new:
            await self._s.store.settled()
        self._s.requests["accepted"] += 1
        if fault is not None:
            return await _suffer(fault)
        return self._describe(task, "submit", 202 if new else 200)

    async def task(self, request: Request) -> Response:
        self._s.requests["gets"] += 1
        found = await self._find(request)
        if isinstance(found, Response):
            return found
        fault = self._s.faults.meet("poll", found.task_id, found.prompt)
        return await _suffer(fault) if fault else self._describe(found, "poll", 200)

    async def events(self, request: Request) -> Response:
        self._s.requests["events"] += 1
        found = await self._find(request)
        if isinstance(found, Response):
            return found
        fault = self._s.faults.meet("events", found.task_id, found.prompt)
        if fault is not None:
            return await _suffer(fault)
        return JSONResponse({"task_id": found.task_id, "events": self._events(found)})

    def _events(self, task: Task) -> list[dict[str, object]]:
        now = time.time()
        steps = [
            (task.created_at, Status.QUEUED, "accepted"),
            (task.starts_at, Status.PROCESSING, "started"),
            (task.ends_at, task.end, _reason(task) or "done"),
        ]
        return [
            {"at": at, "status": status, "message": message}
            for at, status, message in steps
            if at <= now
        ]

    async def _find(self, request: Request) -> Task | Response:
        """The task asked for, if the key may see it."""
        key = self._key(request)
        if key is None:
            return _error(401, "unauthorized", "the API key is missing or not valid")
        task = self._s.tasks.find(request.path_params["task_id"], key)
        if task is None:
            return _error(404, "not_found", "there is no such task")
        late = self._s.faults.describing("poll", task.task_id, task.prompt).get("late_reads")
        if late is not None and time.time() < task.created_at + late.seconds:
            return _error(404, "not_found", "there is no such task")
        return task

    def _key(self, request: Request) -> Key | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return self._s.store.key_of(key) if scheme.lower() == "bearer" else None

    def _describe(self, task: Task, on: str, code: int) -> Response:
        """The documented answer, with whatever oddities are switched on for this task."""
        odd = self._s.faults.describing(on, task.task_id, task.prompt)
        now = time.time()
        status: str = self._s.tasks.status(task, now)
        if "stuck" in odd and status != Status.QUEUED:
            status = Status.PROCESSING
        if status == Status.PROCESSING and "unknown_status" in odd:
            status = "rendering"
        if status == Status.PROCESSING and "backward_status" in odd and int(now * 2) % 2:
            status = Status.QUEUED
        shape: dict[str, object] = {
            "request_id": task.request_id,
            "task_id": task.task_id,
            "status": status,
        }
        if "no_estimate" not in odd:
            shape["cost_estimate"] = float(task.estimate)
        if bad := odd.get("bad_cost"):
            shape["cost_estimate" if on == "submit" else "cost_actual"] = bad.value
        if status == task.end:
            self._end(shape, task, odd)
        return JSONResponse(shape, code)

    def _end(self, shape: dict[str, object], task: Task, odd: dict[str, Fault]) -> None:
        if "cost_above_estimate" in odd:
            shape["cost_actual"] = round(float(task.actual) * 2, 9)
        elif "no_cost" not in odd:
            shape.setdefault("cost_actual", float(task.actual))
        if task.end is Status.SUCCEEDED:
            number = 0 if "no_output" in odd else 2 if "several_videos" in odd else 1
            shape["output"] = {"videos": [{"url": self._url(task, n)} for n in range(number)]}
        else:
            shape["error"] = {"code": f"task_{task.end}", "message": _reason(task)}

    def _url(self, task: Task, ordinal: int) -> str:
        suffix = f"-{ordinal}" if ordinal else ""
        url = f"{self._s.root}/outputs/{task.task_id}{suffix}.mp4"
        if self._s.url_lifetime is None:
            return url
        expires = int(time.time() + self._s.url_lifetime)
        return f"{url}?expires={expires}&token={_token(self._s, task.task_id, expires)}"

    async def output(self, request: Request) -> Response:
        self._s.requests["outputs"] += 1
        name, _, ordinal = request.path_params["name"].removesuffix(".mp4").partition("-")
        task = self._s.tasks.find(name)
        if task is None or self._s.tasks.status(task, time.time()) != Status.SUCCEEDED:
            return _error(404, "not_found", "there is no such output")
        if self._s.url_lifetime is not None and not self._fresh(request, task.task_id):
            return _error(410, "expired", "this URL has expired; ask for the task again")
        fault = self._s.faults.meet("output", task.task_id, task.prompt)
        if fault is not None:
            return await _suffer(fault)
        clip = media.output(
            task.task_id, int(ordinal or 0), task.size, task.duration, audio=task.audio
        )
        return _serve(clip, request)

    def _fresh(self, request: Request, task_id: str) -> bool:
        expires = request.query_params.get("expires", "")
        if not expires.isdecimal() or int(expires) < time.time():
            return False
        return request.query_params.get("token") == _token(self._s, task_id, int(expires))

    async def ledger(self, request: Request) -> Response:
        charges = self._s.store.charges()
        total = sum((Decimal(str(charge["amount"])) for charge in charges), Decimal(0))
        shape: dict[str, object] = {
            "charges": len(charges),
            "total": f"{total:f}",
            "charged_twice": self._s.store.charged_twice(),
            **{name: self._s.requests[name] for name in ("posts", "gets", "events", "outputs")},
        }
        shape["keys"] = self._by_key()
        if "rows" in request.query_params:
            shape["rows"] = charges
        return JSONResponse(shape)

    def _by_key(self) -> list[dict[str, object]]:
        """What each key has bought, and how often it was too fast."""
        bought, refused = self._s.store.charges_by_key(), self._s.refused
        return [
            {
                "id": key.id,
                "name": key.name,
                "charges": bought.get(key.id, 0),
                "refused": refused[key.id],
            }
            for key in self._s.store.keys()  # noqa: SIM118 no dict
        ]

    async def show_faults(self, _request: Request) -> Response:
        return JSONResponse(self._s.faults.as_json())

    async def set_faults(self, request: Request) -> Response:
        try:
            self._s.faults.switch(read(await request.json()))
        except (FaultError, ValueError) as error:
            return _error(422, "invalid_faults", str(error))
        return JSONResponse(self._s.faults.as_json())

    async def openapi(self, _request: Request) -> Response:
        return JSONResponse(document(self._s.root))


def _token(sandbox: Sandbox, task_id: str, expires: int) -> str:
    return f"{draw(sandbox.behaviour.seed, 'url', task_id, expires):.16f}"[2:]


def _reason(task: Task) -> str | None:
    if task.end is Status.FAILED:
        return "the video could not be generated"
    return "the task was cancelled" if task.end is Status.CANCELLED else None


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    shape = {"error": {"code": code, "message": message}, "request_id": f"req_{time.time_ns():x}"}
    return JSONResponse(shape, status, headers)


async def _no_route(_request: Request, _raised: Exception) -> Response:
    return _error(404, "not_found", "there is no such address")


_STATUSES = {
    "error_500": 500,
    "error_503": 503,
    "error_502_after_commit": 502,
    "error_503_after_commit": 503,
    "rate_limit_429": 429,
    "reject_400": 400,
    "reject_422": 422,
    "unauthorized_401": 401,
    "payment_402": 402,
    "forbidden_403": 403,
    "not_found_404": 404,
    "conflict_409": 409,
}


async def _suffer(fault: Fault) -> Response:
    """The answer, or the want of one, that a fault makes."""
    kind = fault.kind.removesuffix("_after_commit")
    if fault.kind in _STATUSES or kind == "status":
        status = _STATUSES.get(fault.kind, fault.status)
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        return _error(status, fault.kind, f"the fault {fault.kind} is switched on", headers)
    match kind:
        case "hang":
            await asyncio.sleep(fault.seconds)
            return Response(status_code=DROP)
        case "garbage":
            return Response("<html><body>Bad gateway</body></html>", media_type="text/html")
        case "truncated":
            return Response('{"request_id": "req_1", "task_', media_type="application/json")
        case "empty":
            return Response("")
        case _:
            return Response(status_code=DROP)


def _serve(content: bytes, request: Request) -> Response:
    """A file with ranges, as a web server would give it."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"Accept-Ranges": "bytes", "ETag": etag}
    asked = request.headers.get("range")
    if request.headers.get("if-range") not in (None, etag):
        asked = None
    try:
        part = media.byte_range(asked, len(content))
    except ValueError:
        headers["Content-Range"] = f"bytes */{len(content)}"
        return Response(status_code=416, headers=headers)
    if part is None:
        return Response(content, 200, headers, "video/mp4")
    first, last = part
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return Response(content[first : last + 1], 206, headers, "video/mp4")
