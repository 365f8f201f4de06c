"""Inputs on their way in and out of the store, their images apart and once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from orchestrator.domain.attachments import Image, attach, detach
from orchestrator.store import tables as t
from orchestrator.store.engine import Tx, insert_ignoring, insert_missing


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
    insert_missing(tx, t.inputs, ("digest", "model", "input_json", "image"), rows)


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
    return set(tx.conn.execute(select(c.sha256).where(c.sha256.in_(names))).scalars())
