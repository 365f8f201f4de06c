"""What was in flight when the provider last refused more: a hint, harmless to lose."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import bindparam, func, select

from orchestrator.domain.learned_cap import Refusal
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.many import insert_or

_R = t.refusals.c
_KNOWN = select(_R.model, _R.at, _R.number, _R.hold).where(
    _R.provider == bindparam("of"), _R.account == bindparam("by")
)
"""Made once: it is asked for each chunk."""


def known(tx: Tx, provider: str, account: str) -> dict[str, Refusal]:
    """Model -> what is remembered of it."""
    found = tx.conn.execute(_KNOWN, {"of": provider, "by": account})
    return {model: Refusal(at, number, hold) for model, at, number, hold in found}


def of_accounts(tx: Tx, provider: str) -> list[tuple[str, str, Refusal]]:
    """(account, model, what is remembered) of all of them."""
    query = select(_R.account, _R.model, _R.at, _R.number, _R.hold).where(_R.provider == provider)
    found = tx.conn.execute(query.order_by(_R.account, _R.model))
    return [(account, model, Refusal(*rest)) for account, model, *rest in found]


def put(tx: Tx, provider: str, account: str, model: str, refusal: Refusal) -> None:
    """Of two at the same moment the later one counts."""
    values = {"at": refusal.at, "number": refusal.number, "hold": refusal.hold}
    statement = insert_or(tx, t.refusals).values(
        provider=provider, account=account, model=model, **values
    )
    tx.conn.execute(
        statement.on_conflict_do_update(
            index_elements=["provider", "account", "model"], set_=values
        )
    )


def mean_age(tx: Tx, account: str, price_classes: Collection[str], sample: int) -> int:
    """For how long some of the account's tasks in flight have been so; 0 where there are none."""
    s = t.submissions.c
    some = (
        select(s.accepted_at)
        .where(t.said_of("submissions", t.IN_FLIGHT), s.account == account)
        .where(s.price_class.in_(price_classes), s.accepted_at.is_not(None))
        .limit(sample)
        .subquery()
    )
    mean = tx.conn.execute(select(func.avg(some.c.accepted_at))).scalar_one()
    return 0 if mean is None else max(0, tx.now - int(mean))
