"""The OpenAPI document of what is served."""

from __future__ import annotations

from typing import Any

from orchestrator.sandbox.schema import DEFAULTS

Schema = dict[str, Any]

_TASK: Schema = {
    "type": "object",
    "required": ["request_id", "task_id", "status"],
    "properties": {
        "request_id": {"type": "string"},
        "task_id": {"type": "string"},
        "status": {"enum": ["queued", "processing", "succeeded", "failed", "cancelled"]},
        "cost_estimate": {"type": "number"},
        "cost_actual": {"type": "number"},
        "output": {
            "type": "object",
            "properties": {
                "videos": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"url": {"type": "string", "format": "uri"}},
                    },
                }
            },
        },
    },
}
_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
}
_INPUT: Schema = {
    "type": "object",
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": 2500},
        "negative_prompt": {"type": "string", "maxLength": 2500},
        "size": {"enum": ["16:9", "9:16", "1:1"]},
        "duration": {"enum": [5, 10]},
        "mode": {"enum": ["std", "pro"]},
        "audio": {"type": "boolean"},
        "seed": {"type": "integer", "minimum": 0, "maximum": 2147483647},
        "cfg_scale": {"type": "number", "minimum": 0, "maximum": 1},
        "image_url": {"type": "string", "minLength": 1},
        "image_urls": {"type": "array", "items": {"type": "string"}, "maxItems": 1},
        "camera_control": {"type": "object"},
    },
}


def _json(schema: Schema, text: str) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _answers(*codes: int, good: dict[int, str], schema: Schema) -> Schema:
    known = {str(code): _json(schema, text) for code, text in good.items()}
    return known | {str(code): _json(_ERROR, "An error") for code in codes}


def document(root: str) -> Schema:
    """OpenAPI 3.1 for a sandbox that is reached at `root`."""
    properties = {
        name: schema | ({"default": DEFAULTS[name]} if name in DEFAULTS else {})
        for name, schema in _INPUT["properties"].items()
    }
    body = {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": {"enum": ["kling-v2-6"]},
            "input": _INPUT | {"properties": properties},
        },
    }
    task_id = {"name": "task_id", "in": "path", "required": True, "schema": {"type": "string"}}
    key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}
    submit = {
        "summary": "Submit a task",
        "parameters": [key],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _answers(
            400, 401, 404, 409, 422, 429, good={200: "A replay", 202: "Accepted"}, schema=_TASK
        ),
    }
    read = {
        "summary": "Read a task",
        "parameters": [task_id],
        "responses": _answers(401, 404, good={200: "The task"}, schema=_TASK),
    }
    events = {
        "summary": "Read a task's events",
        "parameters": [task_id],
        "responses": _answers(401, 404, good={200: "Events"}, schema={"type": "object"}),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "MindVideo API (sandbox)", "version": "1"},
        "servers": [{"url": f"{root}/api/v1"}],
        "security": [{"bearer": []}],
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/tasks": {"post": submit},
            "/tasks/{task_id}": {"get": read},
            "/tasks/{task_id}/events": {"get": events},
        },
    }
