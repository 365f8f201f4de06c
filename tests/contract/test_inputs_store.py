"""Inputs with images, on every database."""

from __future__ import annotations

import base64
import hashlib

from sqlalchemy import select

from orchestrator.store import claims, restoring
from orchestrator.store import tables as t
from orchestrator.store.intake import Staged
from tests.support.stores import Shelf


def pictured(row_key: str, content: bytes) -> Staged:
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    input_json = f'{{"image_url":"{uri}","prompt":"{row_key}"}}'
    digest = hashlib.sha256(input_json.encode()).hexdigest()
    return Staged(row_key, digest, "kling-v2-6", "std", input_json, "{}")


def test_an_image_is_kept_once_and_bodies_come_back_whole(shelf: Shelf) -> None:
    rows = [pictured("a", b"one"), pictured("b", b"one"), pictured("c", b"two")]
    shelf.publish(*rows, "d")
    shelf.publish(*rows, "d", pictured("e", b"two"))
    with shelf.store.read() as tx:
        contents = tx.conn.execute(select(t.images.c.content)).scalars()
        assert sorted(map(bytes, contents)) == [b"one", b"two"]
        unsent = restoring.unsent_items(tx, shelf.batch_id, -1, 100)
    with shelf.store.write() as tx:
        ids = [one.item_id for one in claims.next_items(tx, shelf.batch_id, 100)]
        found = {one.row_key: one.input_json for one in claims.candidates(tx, ids)}
    assert found == {row.row_key: row.input_json for row in [*rows, pictured("e", b"two")]} | {
        "d": '{"prompt":"d"}'
    }
    assert {one.row_key: one.input_json for one in unsent} == found
