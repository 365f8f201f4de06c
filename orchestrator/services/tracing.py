"""One trace for each purchase, from the claim through polls to its end; nothing where it is off.

Its root is told of last, by whoever settles it. Neither prompts nor keys nor what the provider said
are in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.domain.money import to_usd_or_none
from orchestrator.domain.states import TERMINAL
from orchestrator.domain.submission import Decision
from orchestrator.errors import OrchestratorError
from orchestrator.services.context import Context
from orchestrator.store import batches, lives
from orchestrator.store.batches import Batch
from orchestrator.store.lives import Stored
from orchestrator.telemetry.spans import Emit, Place, Span, Value, of_batch, of_purchase

Times = Mapping[int, tuple[float, float]]
"""Submission -> when its request began and ended, in seconds since 1970."""
Settled = Sequence[tuple[Stored, Decision, object]]


def of(batch: Batch) -> Place:
    return of_batch(batch.provider, batch.namespace, batch.name, batch.label)


def took_in(context: Context, batch: Batch, *, began: float, ended: float, to_send: int) -> None:
    """A spec was taken into a batch: the trace that its purchases link to."""
    if context.spans is None:
        return
    about: dict[str, Value] = {"orchestrator.batch": batch.title, "orchestrator.rows": to_send}
    context.spans([Span("intake", of(batch), None, began, ended, about)])


def claimed(context: Context, held: Sequence[Stored], *, began: float, ended: float) -> None:
    """A chunk's intents are committed and journalled."""
    if context.spans is None:
        return
    spans = []
    for stored in held:
        key, tries = stored.idempotency_key, stored.life.tries
        about: dict[str, Value] = {"orchestrator.try": tries}
        place = of_purchase(key, f"claim {tries}")
        spans.append(Span("claim", place, of_purchase(key), began, ended, about))
    context.spans(spans)


async def recorded(
    context: Context, kept: Settled, times: Times, *, now: float, sent: bool
) -> None:
    """Answers are recorded: the requests that brought them and, at the end, the whole purchase.

    Of the polls only the first and those that brought news are told of.
    """
    if context.spans is not None:
        await asyncio.to_thread(_tell, context.spans, context, kept, times, now=now, sent=sent)


def _tell(
    emit: Emit, context: Context, kept: Settled, times: Times, *, now: float, sent: bool
) -> None:
    ended = [stored for stored, decision, _ in kept if _ends(decision)]
    found, rows = _names(context, ended)
    spans: list[Span] = []
    for stored, decision, _ in kept:
        if stored.id in times and (sent or decision.event or stored.life.polls == 0):
            spans.append(_request(stored, decision, times[stored.id], sent=sent))
        if _ends(decision):
            began = times.get(stored.id, (now, now))[1]
            spans += _end(stored, decision, began, now, found.get(stored.batch_id), rows)
    emit(spans)


def _ends(decision: Decision) -> bool:
    return decision.event is not None and decision.after.state in TERMINAL


def _request(stored: Stored, decision: Decision, times: tuple[float, float], *, sent: bool) -> Span:
    life, after = stored.life, decision.after
    number = life.tries if sent else life.polls + 1
    name = "POST /tasks" if sent else "GET /tasks/{id}"
    about: dict[str, Value] = {
        "http.request.method": "POST" if sent else "GET",
        "orchestrator.try" if sent else "orchestrator.poll": number,
        "orchestrator.state": str(after.state),
    }
    if after.task_id:
        about["orchestrator.task_id"] = after.task_id
    key = stored.idempotency_key
    place = of_purchase(key, f"{name} {number}")
    began, ended = times
    lost = sent and after.unresolved
    return Span(name, place, of_purchase(key), began, ended, about, asks=True, failed=lost)


def _end(
    stored: Stored,
    decision: Decision,
    began: float,
    now: float,
    batch: Batch | None,
    rows: Mapping[int, tuple[int, str]],
) -> Iterator[Span]:
    """Its recording, and the purchase as a whole."""
    key, after = stored.idempotency_key, decision.after
    root = of_purchase(key)
    yield Span("settle", of_purchase(key, "settle"), root, began, now)
    about: dict[str, Value | None] = {
        "orchestrator.batch": batch.title if batch else None,
        "orchestrator.row": rows.get(stored.item_id, (0, None))[1],
        "orchestrator.item": stored.item_id,
        "orchestrator.generation": stored.generation,
        "orchestrator.account": stored.account,
        "orchestrator.price_class": stored.price_class,
        "orchestrator.state": str(after.state),
        "orchestrator.tries": after.tries,
        "orchestrator.polls": after.polls,
        "orchestrator.task_id": after.task_id,
        "orchestrator.request_id": after.request_id,
        "orchestrator.cost_usd": to_usd_or_none(after.actual_nanos),
        "orchestrator.error_code": after.error_code,
    }
    told = {name: value for name, value in about.items() if value is not None}
    first = after.first_sent_at or after.accepted_at
    start = began if first is None else first / 1000
    links = [of(batch)] if batch else []
    failed = after.state != "succeeded"
    yield Span("purchase", root, None, start, now, told, failed=failed, links=links)


def _names(
    context: Context, ended: Sequence[Stored]
) -> tuple[dict[int, Batch], dict[int, tuple[int, str]]]:
    if not ended:
        return {}, {}
    try:
        with context.store.read() as tx:
            found = {one.batch_id: batches.get(tx, one.batch_id) for one in ended}
            return found, lives.row_names(tx, [one.item_id for one in ended])
    except OrchestratorError:
        return {}, {}
