"""Gates: a shared "do not send until…", with a reason a person can act on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, or_, select, update

from orchestrator.domain.outcome import GateReason
from orchestrator.store import tables as t
from orchestrator.store.engine import Row, Tx
from orchestrator.store.many import insert_ignoring

ANY_MODEL = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """A closed gate. `until` None: it waits for a probe, a person or a new setting."""

    id: int
    provider: str
    account: str
    model: str
    reason: GateReason
    message: str
    mend: str
    closings: int
    closed_at: int
    until: int | None
    probe_at: int | None


_G = t.gates.c
_FIELDS = [_G[name] for name in Gate.__dataclass_fields__]


# Asked for each chunk: made once, since making them takes longer than asking.
_OURS = (_G.provider == bindparam("of"), _G.account == bindparam("by"), _G.opened_at.is_(None))
_CLOSED = select(*_FIELDS).where(*_OURS, or_(_G.until.is_(None), _G.until > bindparam("now")))
_OPEN_ENDED = update(t.gates).where(*_OURS, _G.until <= bindparam("now"))
_OPEN_ENDED = _OPEN_ENDED.values(opened_at=bindparam("now"))
_A = t.accounts.c
_NOTE_ACCEPTED = update(t.accounts).where(
    _A.provider == bindparam("of"), _A.account == bindparam("by")
)
_NOTE_ACCEPTED = _NOTE_ACCEPTED.values(accepted_at=bindparam("now"))


def _gate(row: Row) -> Gate:
    return Gate(**(dict(row._mapping) | {"reason": GateReason(row.reason)}))  # noqa: SLF001


def closed(tx: Tx, provider: str, account: str) -> list[Gate]:
    """The account's gates that are closed now."""
    found = tx.conn.execute(_CLOSED, {"of": provider, "by": account, "now": tx.now})
    return [_gate(row) for row in found]


def close(
    tx: Tx,
    *,
    provider: str,
    account: str,
    model: str,
    reason: GateReason,
    message: str,
    mend: str,
    until: int | None,
    probe_at: int | None,
) -> bool:
    """Close a gate, or make the one there stricter; returns whether it was open before.

    One that waits for a person is not softened by one that only waits for time.
    """
    same = (_G.provider == provider, _G.account == account, _G.model == model)
    values = {
        "reason": reason,
        "message": message,
        "mend": mend,
        "until": until,
        "probe_at": probe_at,
    }
    ended = _G.until <= tx.now
    if tx.conn.execute(
        update(t.gates)
        .where(*same, _G.opened_at.is_(None), ended)
        .values(**values, closings=_G.closings + 1, closed_at=tx.now)
    ).rowcount:
        return True
    made = insert_ignoring(tx, t.gates).values(
        provider=provider, account=account, model=model, closed_at=tx.now, **values
    )
    # Not by row count, which PostgreSQL's driver does not tell of an INSERT that returns.
    if tx.conn.execute(made.returning(_G.id)).one_or_none() is not None:
        return True
    stricter = _G.until.is_not(None) if until is None else _G.until < until
    tx.conn.execute(update(t.gates).where(*same, _G.opened_at.is_(None), stricter).values(**values))
    return False


def open_gate(tx: Tx, gate_id: int) -> bool:
    return bool(
        tx.conn.execute(
            update(t.gates).where(_G.id == gate_id, _G.opened_at.is_(None)).values(opened_at=tx.now)
        ).rowcount
    )


def postpone_probe(tx: Tx, gate_id: int, until: int) -> None:
    tx.conn.execute(update(t.gates).where(_G.id == gate_id).values(probe_at=until))


def probe_now(tx: Tx, provider: str, account: str) -> None:
    """A person started something: look at once whether the gates still have a reason."""
    tx.conn.execute(
        update(t.gates)
        .where(
            _G.provider == provider,
            _G.account == account,
            _G.opened_at.is_(None),
            _G.until.is_(None),
        )
        .values(probe_at=tx.now)
    )


def note_accepted(tx: Tx, provider: str, account: str) -> None:
    """The account bought something; its timed gates have proved over."""
    values = {"of": provider, "by": account, "now": tx.now}
    if not tx.conn.execute(_NOTE_ACCEPTED, values).rowcount:
        tx.conn.execute(
            insert_ignoring(tx, t.accounts).values(
                provider=provider, account=account, accepted_at=tx.now
            )
        )
    tx.conn.execute(_OPEN_ENDED, values)


def last_accepted(tx: Tx, provider: str, account: str) -> int | None:
    c = t.accounts.c
    query = select(c.accepted_at).where(c.provider == provider, c.account == account)
    return tx.conn.execute(query).scalar_one_or_none()
