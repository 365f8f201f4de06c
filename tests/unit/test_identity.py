"""Keys: published vectors, and what may and may not change one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.identity import (
    KEY_VERSION,
    Json,
    body_bytes,
    body_from_json,
    canonical_json,
    digest_from_json,
    fits_plain,
    idempotency_key,
    idempotency_key_from_json,
    input_digest,
    plain_number,
    row_key,
)

MODEL = "kling-v2-6"
DOCUMENT = Path(__file__).parents[2] / "docs" / "identity.md"

BOAT: Mapping[str, Json] = {
    "prompt": "A paper boat crossing a puddle in the rain",
    "size": "16:9",
    "duration": 5,
    "mode": "std",
    "audio": False,
    "cfg_scale": Decimal("0.50"),
}
CAFE: Mapping[str, Json] = {
    "prompt": 'Café ☕ "now"\nsecond line\t\\ 🎬',
    "size": "9:16",
    "duration": 10,
    "mode": "pro",
    "audio": True,
    "cfg_scale": Decimal("0.7"),
    "seed": 7,
    "camera_control": {
        "type": "simple",
        "config": {"zoom": Decimal("1.50"), "pan": Decimal("1E+1")},
    },
}
BOAT_JSON = (
    '{"audio":false,"cfg_scale":0.5,"duration":5,"mode":"std",'
    '"prompt":"A paper boat crossing a puddle in the rain","size":"16:9"}'
)
CAFE_JSON = (
    '{"audio":true,"camera_control":{"config":{"pan":10,"zoom":1.5},"type":"simple"},'
    '"cfg_scale":0.7,"duration":10,"mode":"pro",'
    '"prompt":"Café ☕ \\"now\\"\\nsecond line\\t\\\\ 🎬","seed":7,"size":"9:16"}'
)
BOAT_DIGEST = "3ca8a667c341883465db3accade7d855440c05c50fe8891c2424e2e940c31acc"
CAFE_DIGEST = "aaa3bb53ffc205dc721edae3b62dfb00d58b9fbb87d28938daf636e37b6ba197"
# (input, namespace, batch, label, row key, generation, key)
KEYS: list[tuple[Mapping[str, Json], str, str, str, str, int, str]] = [
    (
        BOAT,
        "",
        "launch",
        "default",
        "~3ca8a667c341883465db.1",
        0,
        "fac8b55bc4e7556576528204fc19b9d5196a106ba2010ddf3109313591c637a2",
    ),
    (
        BOAT,
        "staging",
        "nightly",
        "2026-11-23T01:00Z",
        "sku-ü-1",
        2,
        "af95b85425ccc3ee6514c2f12b4087cf33ccf7cae1a66c4d10e5eb00b524d530",
    ),
    (
        CAFE,
        "",
        "launch",
        "default",
        "~aaa3bb53ffc205dc721e.1",
        0,
        "241f97dd230c3776b12fb36e9d2ca4c294dfe3ad9d6a23cdffdca91db03645eb",
    ),
    (
        CAFE,
        "staging",
        "nightly",
        "2026-11-23T01:00Z",
        "sku-ü-1",
        2,
        "42fbe9d66c03b94faae184e5aea0989840badab3cc763170c611ede457aea4c4",
    ),
]


@pytest.mark.parametrize(
    ("values", "text", "digest"), [(BOAT, BOAT_JSON, BOAT_DIGEST), (CAFE, CAFE_JSON, CAFE_DIGEST)]
)
def test_published_inputs(values: Mapping[str, Json], text: str, digest: str) -> None:
    assert canonical_json(values) == text
    assert input_digest(MODEL, values) == digest_from_json(MODEL, text) == digest
    body = f'{{"input":{text},"model":"kling-v2-6"}}'.encode()
    assert body_bytes(MODEL, values) == body_from_json(MODEL, text) == body


@pytest.mark.parametrize("vector", KEYS)
def test_published_keys(vector: tuple[Mapping[str, Json], str, str, str, str, int, str]) -> None:
    values, namespace, batch, label, key_of_row, generation, expected = vector
    assert KEY_VERSION == 1
    found = idempotency_key(
        key_version=1,
        namespace=namespace,
        batch=batch,
        label=label,
        row_key=key_of_row,
        model=MODEL,
        values=values,
        generation=generation,
    )
    assert found == expected
    names = ",".join(json.dumps(name, ensure_ascii=False) for name in (namespace, batch, label))
    array = (
        f'[1,{names},{json.dumps(key_of_row, ensure_ascii=False)},"{MODEL}",'
        f"{canonical_json(values)},{generation}]"
    )
    assert hashlib.sha256(array.encode()).hexdigest() == expected


def test_the_document_publishes_these_vectors() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for literal in (BOAT_JSON, CAFE_JSON, BOAT_DIGEST, CAFE_DIGEST, *(v[-1] for v in KEYS)):
        assert literal in text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.0", "1"),
        ("0.50", "0.5"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1E+2", "100"),
        ("1E-2", "0.01"),
        ("-2.500", "-2.5"),
        ("100", "100"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("0E+999", "0"),
        ("0.5" + "0" * 60, "0.5"),
    ],
)
def test_numbers_have_one_shortest_form(number: str, text: str) -> None:
    assert plain_number(Decimal(number)) == text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1E+999999", "1E-41", "1E+40", "-1E+40"])
def test_numbers_without_a_plain_form_are_refused(number: str) -> None:
    assert not fits_plain(Decimal(number))
    with pytest.raises(ValueError, match="number"):
        canonical_json({"zoom": Decimal(number)})


def test_binary_floats_have_no_canonical_form() -> None:
    with pytest.raises(TypeError):
        canonical_json({"cfg_scale": 0.5})  # type: ignore[dict-item]


def test_row_keys() -> None:
    assert row_key("sku-1", BOAT_DIGEST, 3) == "sku-1"
    assert row_key(None, BOAT_DIGEST, 3) == "~3ca8a667c341883465db.3"
    for wrong in ("", "~mine"):
        with pytest.raises(ValueError, match="not an id"):
            row_key(wrong, BOAT_DIGEST, 1)
    with pytest.raises(ValueError, match="from 1"):
        row_key(None, BOAT_DIGEST, 0)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_NUMBER = st.decimals(-1000, 1000, places=6)
_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=8,
)
_INPUTS = st.dictionaries(_TEXT, _JSON, max_size=5)
_PARTS = st.fixed_dictionaries(
    {
        "key_version": st.integers(1, 3),
        "namespace": _TEXT,
        "batch": _TEXT,
        "label": _TEXT,
        "row_key": _TEXT,
        "model": _TEXT,
        "generation": st.integers(0, 5),
    }
)


def _key(parts: Mapping[str, object], values: Mapping[str, Json]) -> str:
    return idempotency_key(**parts, values=values)  # type: ignore[arg-type]


@given(_INPUTS)
def test_canonical_json_is_json_and_means_the_same(values: dict[str, Json]) -> None:
    text = canonical_json(values)
    assert json.loads(text, parse_float=Decimal) == values
    shuffled = dict(reversed(list(values.items())))
    assert canonical_json(shuffled) == text
    assert canonical_json(json.loads(text, parse_float=Decimal)) == text


@given(_PARTS, _INPUTS)
def test_a_key_is_64_printable_ascii_and_the_same_from_stored_json(
    parts: dict[str, object], values: dict[str, Json]
) -> None:
    key = _key(parts, values)
    assert len(key) == 64
    assert key.isascii()
    assert key.isprintable()
    stored = idempotency_key_from_json(**parts, input_json=canonical_json(values))  # type: ignore[arg-type]
    assert stored == key


@given(_PARTS, _PARTS, _INPUTS, st.sampled_from(sorted(["namespace", "batch", "label"])))
def test_every_part_enters_the_key(
    parts: dict[str, object], other: dict[str, object], values: dict[str, Json], name: str
) -> None:
    for part in (name, "row_key", "model", "generation", "key_version"):
        changed = parts | {part: other[part]}
        assert (_key(changed, values) == _key(parts, values)) == (other[part] == parts[part])


@given(_PARTS, _INPUTS, _INPUTS)
def test_the_input_enters_the_key(
    parts: dict[str, object], values: dict[str, Json], other: dict[str, Json]
) -> None:
    same = canonical_json(values) == canonical_json(other)
    assert (_key(parts, values) == _key(parts, other)) == same


@given(_TEXT, _TEXT)
def test_parts_do_not_run_into_each_other(left: str, right: str) -> None:
    base: dict[str, object] = {
        "key_version": 1, "namespace": "", "row_key": "r", "model": "m", "generation": 0
    }  # fmt: skip
    joined = _key(base | {"batch": left + right, "label": ""}, {})
    apart = _key(base | {"batch": left, "label": right}, {})
    assert (joined == apart) == (right == "")
