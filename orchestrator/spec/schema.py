"""The JSON Schema of YAML specs, for editors: titles and descriptions are those of the API."""

from __future__ import annotations

from orchestrator.domain.batch import NAME
from orchestrator.domain.canary import MAX_ROWS, MAX_WEIGHT
from orchestrator.domain.models import models
from orchestrator.spec.ids import MAX_ID
from orchestrator.spec.yaml_head import MAX_RETRIES, axis_names
from orchestrator.spec.yaml_more import MAX_EXCLUDES, MAX_SEED, MAX_SEEDS, MAX_TAKES

Schema = dict[str, object]
_NAME = {"type": "string", "pattern": f"^{NAME.pattern}$"}


def json_schema() -> Schema:
    """A spec's top level; what only the reader can judge (a table's columns) is left to it."""
    fields = _fields()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Spec of a batch of videos",
        "type": "object",
        "additionalProperties": False,
        "properties": _top(fields) | _lists(fields),
        "$defs": {
            "row": _row(fields),
            "takes": {
                "type": "integer", "minimum": 1, "maximum": MAX_TAKES,
                "description": "How many videos of the same input.",
            },
        },
    }  # fmt: skip


def _fields() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for model in models().values():
        for name, described in model.schema.model_json_schema()["properties"].items():
            plain = {key: value for key, value in described.items() if not key.startswith("x-")}
            found.setdefault(name, plain)
    return found


def _top(fields: dict[str, Schema]) -> Schema:
    rows = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/row"}]}}
    names = {name: _one_or_more(field) for name, field in fields.items()}
    inner = {name: field for name, field in fields.items() if name != "prompt"}
    return {
        "name": _NAME | {"description": "The batch's name (default: the file's)."},
        "account": {
            "type": "string", "pattern": "^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$",
            "description": "Whose API key sends it; counts when the batch is made.",
        },
        "model": {"enum": sorted(models()), "description": "For rows that name none."},
        "budget": {
            "type": ["number", "string"],
            "description": "USD; counts when the batch is made.",
        },
        "retries": {
            "type": "integer", "minimum": 0, "maximum": MAX_RETRIES,
            "description": "Buy anew, so often, what the provider reports as failed.",
        },
        "priority": {
            "type": "integer", "minimum": 1, "maximum": MAX_WEIGHT,
            "description": "How many rows go for one of a batch of priority 1.",
        },
        "limit": _rows("How many rows may be sent in all."),
        "canary": {
            "anyOf": [_rows("How many rows go first."), _canary()],
            "description": "Rows that go first; the others follow if these go well.",
        },
        "deadline": {
            "type": "string",
            "description": "When nothing new is sent any more: 2026-12-01T18:00Z, or 6h, 2d after "
            "the batch is made.",
        },
        "download": {
            "type": "string",
            "description": "Where run saves the videos: a folder beside the spec, or a URL.",
        },
        "reuse": {
            "type": "boolean",
            "description": "Take identical earlier successes of other batches, at no cost.",
        },
        "takes": {"$ref": "#/$defs/takes"},
        "keep": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": "Own columns given back in results, beside those that begin with x_.",
        },
        "rows": {"type": "string", "description": "A table beside the spec; fills {column}."},
        "id": {"type": "string", "description": "Template of the ids of the table's rows."},
        "defaults": {
            "type": "object", "additionalProperties": False, "properties": inner,
            "description": "Fields for rows that do not give them.",
        },
        "items": rows | {"description": "Rows one by one, before the lists."},
        "include": rows | {"description": "Rows one by one, after the lists."},
        "exclude": {
            "type": "array", "maxItems": MAX_EXCLUDES,
            "items": {"type": "object", "additionalProperties": False, "properties": names},
            "description": "Combinations of the lists to leave out.",
        },
    }  # fmt: skip


def _rows(description: str) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "description": description}


def _canary() -> Schema:
    share = {"type": ["number", "string"]}
    return {
        "type": "object", "additionalProperties": False, "required": ["rows"],
        "properties": {
            "rows": _rows("How many rows go first."),
            "failures": share | {"description": "The share of them that may fail (20%)."},
            "cost": share | {"description": "How many times their estimate they may cost (1.2)."},
            "deadline": {
                "type": "string",
                "description": "How long one may take before it counts as failed (1h).",
            },
        },
    }  # fmt: skip


def _lists(fields: dict[str, Schema]) -> Schema:
    lists: Schema = {key: _one_or_more(fields[name]) for key, name in axis_names().items()}
    counted = {
        "type": "object", "additionalProperties": False, "required": ["count"],
        "properties": {
            "count": {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
            "from": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
        },
    }  # fmt: skip
    for key in ("seed", "seeds"):
        lists[key] = _told(fields["seed"]) | {"anyOf": [lists[key], counted]}
    return lists


def _row(fields: dict[str, Schema]) -> Schema:
    first: Schema = {
        "id": {"type": ["string", "integer"], "maxLength": MAX_ID},
        "model": {"enum": sorted(models())},
        "takes": {"$ref": "#/$defs/takes"},
    }
    return {
        "type": "object",
        "required": ["prompt"],
        "properties": first | fields,
        "patternProperties": {"^[xX]_.": {"description": "Your own; comes back in results."}},
        "additionalProperties": False,
    }


def _one_or_more(field: Schema) -> Schema:
    return _told(field) | {"anyOf": [field, {"type": "array", "minItems": 1, "items": field}]}


def _told(field: Schema) -> Schema:
    """What editors show of a key: they look no deeper than the key itself."""
    return {key: field[key] for key in ("title", "description") if key in field}
