"""Steering: pause, resume, cancel, retry. Journalled first, so that a lost database remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.domain.batch import Stop, Wanted
from orchestrator.domain.money import to_usd
from orchestrator.domain.submission import NeedsPerson
from orchestrator.errors import NeedsPersonError, UsageError
from orchestrator.journal import Control, JournalWriter
from orchestrator.services import finishing, rejoining
from orchestrator.services.context import Context
from orchestrator.services.pricing import Estimate, estimate
from orchestrator.store import batches, gates, lives, prices, steering
from orchestrator.store.batches import Batch

MAX_GENERATIONS = 5
"""Purchases of one row, the first included, before `retry` wants to be told otherwise."""


@dataclass(frozen=True, slots=True)
class Steered:
    """The batch afterwards, and how many items moved by it."""

    batch: Batch
    items: int = 0


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """What a retry would buy: price class -> item ids; `spent` have no generation left."""

    classes: dict[str, list[int]]
    spent: int
    cost: Estimate

    @property
    def items(self) -> list[int]:
        return [item_id for ids in self.classes.values() for item_id in ids]


def pause(context: Context, journal: JournalWriter, batch: Batch) -> Steered:
    """Send nothing more, re-asks included; what was sent is still asked about."""
    batch = _as_it_is(context, batch)
    _refuse_finished(batch, "pause")
    return _want(context, journal, batch, Wanted.PAUSED)


def cancel(context: Context, journal: JournalWriter, batch: Batch) -> Steered:
    """Take back what was not sent. What was sent cannot be taken back, and is paid for."""
    batch = _as_it_is(context, batch)
    _refuse_finished(batch, "cancel")
    return _want(context, journal, batch, Wanted.CANCELLED)


def resume(
    context: Context, journal: JournalWriter, batch: Batch, budget_nanos: int | None
) -> Steered:
    """Send again what waits, what a cancel took back included; gates are tried at once.

    Raises UsageError for a finished batch or a budget below what is committed already,
    NeedsPersonError while an unreadable cost is not settled.
    """
    batch = _as_it_is(context, batch)
    if batch.finished_at is not None and batch.wanted is Wanted.OPEN:
        raise _finished(batch, "resume")
    refuse_spent_budget(batch, budget_nanos)
    with context.store.read() as tx:
        _refuse_unreadable(batch, lives.needing_person(tx, batch.id))
    return _want(context, journal, batch, Wanted.OPEN, budget_nanos)


def refuse_spent_budget(batch: Batch, budget_nanos: int | None) -> None:
    """Raises UsageError for a budget below what is committed already."""
    committed = batch.committed_nanos
    if budget_nanos is not None and budget_nanos < committed:
        raise UsageError(
            f"a budget of {to_usd(budget_nanos)} USD is below the {to_usd(committed)} USD that "
            f"{batch.title} has spent or holds already",
            mend=f"Give more than {to_usd(committed)}, or pause the batch.",
            code="budget_too_low",
        )


def _refuse_unreadable(batch: Batch, waiting: Sequence[lives.Stored]) -> None:
    unreadable = [one for one in waiting if one.life.needs_person is NeedsPerson.COST_UNREADABLE]
    if unreadable:
        raise NeedsPersonError(
            f"{batch.title} stopped because {len(unreadable)} of its costs cannot be read",
            mend=f"`orchestrator resolve {batch.title}` lists them; settle each with --charged.",
            code=Stop.COST_UNREADABLE.value,
        )


def _want(
    context: Context,
    journal: JournalWriter,
    batch: Batch,
    wanted: Wanted,
    budget_nanos: int | None = None,
) -> Steered:
    moved = 0
    with context.store.write() as tx:
        if wanted is not Wanted.PAUSED:
            rejoining.refuse(tx)
        before = batches.lock(tx, batch.id)
        budget = before.budget_nanos if budget_nanos is None else budget_nanos
        # A person's word first: should the commit fail, it is still remembered.
        journal.append(
            [
                Control(
                    namespace=batch.namespace,
                    name=batch.name,
                    label=batch.label,
                    wanted=wanted,
                    budget_nanos=budget,
                    actor=context.actor,
                    at=tx.now,
                )
            ]
        )
        steering.want(tx, batch.id, wanted, actor=context.actor)
        if wanted is Wanted.CANCELLED:
            moved = steering.withdraw_unsent(tx, batch.id, actor=context.actor)
        if wanted is Wanted.OPEN:
            moved = steering.revive_withdrawn(tx, batch.id, actor=context.actor)
            for stop in Stop:
                batches.clear_stop(tx, batch.id, stop)
            if budget_nanos is not None and budget_nanos != before.budget_nanos:
                detail = f"budget set to {to_usd(budget_nanos)} USD"
                batches.set_budget(tx, batch.id, budget_nanos, actor=context.actor, detail=detail)
            for account in context.accounts:
                gates.probe_now(tx, context.provider, account.id)
        return Steered(batches.get(tx, batch.id), moved)


def plan_retry(
    context: Context,
    batch: Batch,
    *,
    codes: Sequence[str],
    rows: Sequence[str],
    max_generations: int,
) -> RetryPlan:
    """What would be bought anew, and for how much.

    Raises UsageError for a cancelled batch, and for `rows` that it does not have.
    """
    if batch.wanted is Wanted.CANCELLED:
        raise UsageError(
            f"{batch.title} is cancelled",
            mend=f"`orchestrator resume {batch.title}` first, then retry.",
            code="cancelled",
        )
    with context.store.read() as tx:
        if missing := steering.missing_rows(tx, batch.id, rows):
            raise UsageError(
                f"{batch.title} has no row {', '.join(map(repr, missing))}",
                mend=f"`orchestrator results {batch.title}` lists its rows.",
                code="no_row",
            )
        classes, spent = steering.retryable(
            tx, batch.id, codes=codes, rows=rows, max_generations=max_generations
        )
        book = prices.known(tx, context.provider)
    return RetryPlan(classes, spent, estimate({k: len(v) for k, v in classes.items()}, book))


def retry(context: Context, batch: Batch, plan: RetryPlan) -> Steered:
    """A new generation, with a key of its own, for each item of the plan."""
    with context.store.write() as tx:
        rejoining.refuse(tx)
        batches.lock(tx, batch.id)
        retried = steering.retry(tx, batch.id, plan.items, actor=context.actor)
        return Steered(batches.get(tx, batch.id), retried)


def _as_it_is(context: Context, batch: Batch) -> Batch:
    """The batch, closed if it is at its end: no tick comes by while no worker runs."""
    finishing.run_once(context)
    with context.store.read() as tx:
        return batches.get(tx, batch.id)


def _refuse_finished(batch: Batch, verb: str) -> None:
    if batch.finished_at is not None:
        raise _finished(batch, verb)


def _finished(batch: Batch, verb: str) -> UsageError:
    return UsageError(
        f"{batch.title} is finished: there is nothing to {verb}",
        mend=f"`orchestrator retry {batch.title}` buys anew what failed; `orchestrator results "
        f"{batch.title}` shows what came of it.",
        code="finished",
    )
