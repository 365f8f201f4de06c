"""Kling V2.6: text to video, image to video, sound.

Every name, bound, enum, default, title and description is that of the API document, in its order.
Beyond the document (docs/specs.md says so): sound needs mode `pro` even though its schema cannot
express it, and references are checked for their form.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from orchestrator.domain.identity import Json
from orchestrator.domain.models.images import image_reference
from orchestrator.domain.models.values import (
    Kind,
    RefusedError,
    clean_text,
    json_object,
    number,
    whole,
)
from orchestrator.domain.models.video_model import Fault, VideoModel, shown

_ADVANCED: dict[str, Json] = {"x-playground": {"advanced": True}}

Absent = SkipJsonSchema[None]
_Image = Annotated[str, BeforeValidator(image_reference)]


def _as_documented(schema: JsonDict) -> None:
    """Absent is not null: such fields have no default; and 0.5 is a number, not text."""
    properties = schema["properties"]
    assert isinstance(properties, dict)  # noqa: S101 narrows for the type checker
    for described in properties.values():
        assert isinstance(described, dict)  # noqa: S101
        if described.get("default", ...) is None:
            del described["default"]
        if described["type"] == "number" and "default" in described:
            described["default"] = float(str(described["default"]))


class KlingV26(BaseModel):
    """Input of kling-v2-6."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra=_as_documented
    )

    mode: Annotated[
        Literal["std", "pro"],
        Kind.CHOICE,
        Field(
            title="Mode",
            description="Kling mode. std is the tested 720P tier, pro is the tested 1080P tier.",
        ),
    ] = "std"
    seed: Annotated[
        Annotated[int, Field(ge=0, le=2147483647)] | Absent,
        Kind.INTEGER,
        BeforeValidator(whole),
        Field(title="Seed", json_schema_extra=_ADVANCED),
    ] = None
    size: Annotated[Literal["16:9", "9:16", "1:1"], Kind.CHOICE, Field(title="Aspect ratio")] = (
        "16:9"
    )
    audio: Annotated[
        bool,
        Kind.FLAG,
        Field(
            title="Audio",
            description="Whether to generate synchronized audio. Available with pro mode.",
        ),
    ] = False
    prompt: Annotated[
        str,
        Kind.TEXT,
        Field(
            title="Prompt",
            min_length=1,
            max_length=2500,
            json_schema_extra={"x-playground": {"rows": 6, "widget": "textarea"}},
        ),
        BeforeValidator(clean_text),
    ]
    duration: Annotated[
        Literal[5, 10], Kind.INTEGER, Kind.CHOICE, BeforeValidator(whole), Field(title="Duration")
    ] = 5
    cfg_scale: Annotated[
        Decimal,
        Kind.NUMBER,
        Field(title="CFG scale", ge=0, le=1, json_schema_extra=_ADVANCED),
        BeforeValidator(number),
        WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
    ] = Decimal("0.5")
    image_url: Annotated[
        _Image | Absent,
        Kind.IMAGE,
        Field(
            title="Reference image",
            description="Optional reference image URL for image-to-video generation.",
        ),
    ] = None
    image_urls: Annotated[
        Annotated[list[_Image], Field(max_length=1)] | Absent,
        Kind.IMAGES,
        Field(
            title="Reference images",
            description="Optional single reference image URL. The first item is sent as image_url.",
        ),
    ] = None
    camera_control: Annotated[
        dict[str, object] | Absent,
        Kind.OBJECT,
        BeforeValidator(json_object),
        Field(title="Camera control", json_schema_extra=_ADVANCED),
        WithJsonSchema({"type": "object"}),
    ] = None
    negative_prompt: Annotated[
        Annotated[str, Field(max_length=2500)] | Absent,
        Kind.TEXT,
        BeforeValidator(clean_text),
        Field(
            title="Negative prompt",
            json_schema_extra={"x-playground": {"rows": 3, "widget": "textarea", "advanced": True}},
        ),
    ] = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for fault in _contradictions(self.__dict__):
            raise RefusedError(fault.message, fault.mend)
        return self


def _contradictions(values: Mapping[str, object]) -> list[Fault]:
    faults = []
    if values.get("audio") is True and values.get("mode") == "std":
        faults.append(
            Fault("audio", "true", "audio needs mode pro", "Set mode to pro, or audio to false.")
        )
    images = values.get("image_urls")
    first = images[0] if isinstance(images, list) and images else None
    single = values.get("image_url")
    if first is not None and single is not None and first != single:
        faults.append(
            Fault(
                "image_urls",
                shown(first),
                "names another image than image_url",
                "Leave one of the two empty.",
            )
        )
    return faults


def _fold(values: dict[str, Json]) -> dict[str, Json]:
    images = values.pop("image_urls", None)
    if isinstance(images, list) and images:
        values["image_url"] = images[0]
    return values


def _price(values: Mapping[str, Json]) -> str:
    sound = "audio" if values["audio"] else "silent"
    return f"{values['mode']}/{values['duration']}s/{sound}"


MODEL = VideoModel(
    slug="kling-v2-6",
    schema=KlingV26,
    contradictions=_contradictions,
    fold=_fold,
    price=_price,
    synonyms={"image_urls": "image_url"},
)
