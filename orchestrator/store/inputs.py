"""Inputs on their way in and out of the store, their images apart and once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, exists, select

from orchestrator.domain.attachments import Image, attach, detach
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx
from orchestrator.store.many import insert_ignoring, insert_or_use


@dataclass(frozen=True, slots=True)
class NewInput:
    """An input with its whole canonical JSON."""

    digest: str
    model: str
    input_json: str


def keep(tx: Tx, inputs: Iterable[NewInput]) -> None:
    """Store what is not there yet; images before the inputs that refer to them."""
    rows: list[tuple[str | None, ...]] = []
    images: dict[str, Image] = {}
    for one in inputs:
        short, image = detach(one.input_json)
        if image is not None:
            images[image.sha256] = image
        rows.append((one.digest, one.model, short, None if image is None else image.sha256))
    missing = sorted(images.keys() - _present(tx, images.keys()))
    if missing:
        kept = [{"sha256": sha256, "content": images[sha256].content} for sha256 in missing]
        tx.conn.execute(insert_ignoring(tx, t.images), kept)
    insert_or_use(tx, t.inputs, ("digest", "model", "input_json", "image"), rows)


def drop_unused(tx: Tx, before: int, limit: int) -> tuple[int, set[str]]:
    """Forget inputs that no row was given with since `before`; (how many, images they had)."""
    c = t.inputs.c
    chosen = select(c.digest).where(c.used_at < before).order_by(c.used_at).limit(limit)
    if tx.locks_rows:
        chosen = chosen.with_for_update(skip_locked=True)
    digests = list(tx.conn.execute(chosen).scalars())
    if not digests:
        return 0, set()
    gone = delete(t.inputs).where(c.digest.in_(digests)).returning(c.image)
    images = {image for image in tx.conn.execute(gone).scalars() if image is not None}
    return len(digests), images


def drop_images(tx: Tx, candidates: Iterable[str]) -> int:
    """Forget those of these images that no input has; returns how many."""
    c = t.images.c
    chosen = select(c.sha256).where(c.sha256.in_(sorted(candidates))).order_by(c.sha256)
    # Locked first: who is about to give one again is waited for, and then seen below.
    found = list(tx.conn.execute(chosen.with_for_update() if tx.locks_rows else chosen).scalars())
    used = exists().where(t.inputs.c.image == c.sha256)
    return tx.conn.execute(delete(t.images).where(c.sha256.in_(found), ~used)).rowcount


def whole(tx: Tx, stored: Sequence[tuple[str, str | None]]) -> list[str]:
    """The canonical JSON of each (`input_json`, `image`) as stored, byte for byte as it came."""
    images = _images(tx, {image for _, image in stored if image is not None})
    return [short if image is None else attach(short, images[image]) for short, image in stored]


def _images(tx: Tx, wanted: set[str]) -> Mapping[str, Image]:
    if not wanted:
        return {}
    c = t.images.c
    found = tx.conn.execute(select(c.sha256, c.content).where(c.sha256.in_(wanted)))
    return {sha256: Image(sha256, bytes(content)) for sha256, content in found}


def _present(tx: Tx, wanted: Iterable[str]) -> set[str]:
    c = t.images.c
    names = list(wanted)
    if not names:
        return set()
    query = select(c.sha256).where(c.sha256.in_(names)).order_by(c.sha256)
    # Kept as long as this transaction lasts, for the inputs that it adds.
    query = query.with_for_update(read=True, key_share=True) if tx.locks_rows else query
    return set(tx.conn.execute(query).scalars())
