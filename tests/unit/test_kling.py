"""The schema of kling-v2-6 is the documented one; every input has one normal form or its faults."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import orchestrator.domain.models as package
from orchestrator.domain.identity import canonical_json
from orchestrator.domain.models import (
    DEFAULT_MODEL,
    Fault,
    InputError,
    Kind,
    NormalInput,
    UnknownModelError,
    get_model,
    models,
    suggestion,
)
from orchestrator.domain.models.images import MAX_IMAGE_BYTES

KLING = get_model("kling-v2-6")
PNG = "data:image/png;base64,iVBORw0KGgo="
ADVANCED = {"advanced": True}

# The API document's "Input" schema, word for word.
DOCUMENTED: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "mode": {
            "enum": ["std", "pro"],
            "type": "string",
            "title": "Mode",
            "default": "std",
            "description": "Kling mode. std is the tested 720P tier, pro is the tested 1080P tier.",
        },
        "seed": {
            "type": "integer",
            "title": "Seed",
            "maximum": 2147483647,
            "minimum": 0,
            "x-playground": ADVANCED,
        },
        "size": {
            "enum": ["16:9", "9:16", "1:1"],
            "type": "string",
            "title": "Aspect ratio",
            "default": "16:9",
        },
        "audio": {
            "type": "boolean",
            "title": "Audio",
            "default": False,
            "description": "Whether to generate synchronized audio. Available with pro mode.",
        },
        "prompt": {
            "type": "string",
            "title": "Prompt",
            "maxLength": 2500,
            "minLength": 1,
            "x-playground": {"rows": 6, "widget": "textarea"},
        },
        "duration": {"enum": [5, 10], "type": "integer", "title": "Duration", "default": 5},
        "cfg_scale": {
            "type": "number",
            "title": "CFG scale",
            "default": 0.5,
            "maximum": 1,
            "minimum": 0,
            "x-playground": ADVANCED,
        },
        "image_url": {
            "type": "string",
            "title": "Reference image",
            "description": "Optional reference image URL for image-to-video generation.",
        },
        "image_urls": {
            "type": "array",
            "items": {"type": "string"},
            "title": "Reference images",
            "maxItems": 1,
            "description": (
                "Optional single reference image URL. The first item is sent as image_url."
            ),
        },
        "camera_control": {
            "type": "object",
            "title": "Camera control",
            "x-playground": ADVANCED,
        },
        "negative_prompt": {
            "type": "string",
            "title": "Negative prompt",
            "maxLength": 2500,
            "x-playground": {"rows": 3, "widget": "textarea", "advanced": True},
        },
    },
}


def _normal(**given: object) -> NormalInput:
    return KLING.normalise({"prompt": "A cat"} | given)


def _json(**given: object) -> str:
    return canonical_json(_normal(**given).values)


def _faults(raw: Mapping[str, object]) -> dict[str, Fault]:
    with pytest.raises(InputError) as caught:
        KLING.normalise(raw)
    return {fault.field: fault for fault in caught.value.faults}


def _fault(**given: object) -> Fault:
    (fault,) = _faults({"prompt": "A cat"} | given).values()
    return fault


def test_the_schema_is_the_documented_one() -> None:
    schema = KLING.schema.model_json_schema()
    assert schema["properties"] == DOCUMENTED["properties"]
    assert list(schema["properties"]) == list(DOCUMENTED["properties"])
    assert (schema["type"], schema["required"]) == ("object", ["prompt"])
    assert schema["additionalProperties"] is False


def test_fields_come_in_documented_order_with_their_kinds() -> None:
    assert [field.name for field in KLING.fields] == list(DOCUMENTED["properties"])
    kinds = {field.name: (field.kind, field.choices) for field in KLING.fields}
    assert kinds["duration"] == (Kind.INTEGER, (5, 10))
    assert kinds["size"] == (Kind.CHOICE, ("16:9", "9:16", "1:1"))
    assert kinds["seed"] == (Kind.INTEGER, ())


def test_defaults_are_written_out_and_absent_fields_stay_absent() -> None:
    normal = _normal(seed=None, image_urls=[])
    assert canonical_json(normal.values) == (
        '{"audio":false,"cfg_scale":0.5,"duration":5,"mode":"std","prompt":"A cat","size":"16:9"}'
    )
    assert KLING.price_class(normal) == "kling-v2-6/std/5s/silent"


def test_price_classes() -> None:
    classes = {
        KLING.price_class(_normal(mode=mode, duration=duration, audio=audio))
        for mode, audio in (("std", False), ("pro", False), ("pro", True))
        for duration in (5, 10)
    }
    assert len(classes) == 6
    assert "kling-v2-6/pro/10s/audio" in classes


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": "x"},
        {"prompt": "x" * 2500},
        {"prompt": "🎬" * 2500},
        {"prompt": "x\r\n" * 1250},
        {"seed": 0},
        {"seed": 2147483647},
        {"cfg_scale": 0},
        {"cfg_scale": 1},
        {"cfg_scale": Decimal("0.123456789012345678901234567890")},
        {"negative_prompt": ""},
        {"negative_prompt": "x" * 2500},
        {"image_url": "http://example.com/a.png"},
        {"image_url": "HTTPS://example.com:8443/a%20b.png?x=1#y"},
        {"image_url": PNG},
        {"image_url": "DATA:image/svg+xml;charset=utf-8;BASE64,QUJD"},
        {"camera_control": {}},
        {"mode": "pro", "audio": True},
    ],
)
def test_what_the_document_allows(given: dict[str, object]) -> None:
    assert _normal(**given).values.keys() >= given.keys()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("prompt", "", "is empty"),
        ("prompt", "x" * 2501, "has 2,501 characters, at most 2,500 are allowed"),
        ("prompt", "🎬" * 2501, "has 2,501 characters, at most 2,500 are allowed"),
        ("prompt", 5, "must be text"),
        ("prompt", "a\0b", "has a NUL character"),
        ("prompt", "\ud83d", "has half of a surrogate pair"),
        ("negative_prompt", "x" * 2501, "has 2,501 characters, at most 2,500 are allowed"),
        ("size", "4:3", "must be 16:9, 9:16 or 1:1"),
        ("duration", 7, "must be 5 or 10"),
        ("duration", 2**70, "must be 5 or 10"),
        ("seed", 2**70, "must be at most 2147483647"),
        ("duration", "5", "must be 5 or 10"),
        ("duration", True, "must be 5 or 10"),
        ("mode", "ultra", "must be std or pro"),
        ("audio", 1, "must be true or false"),
        ("audio", "true", "must be true or false"),
        ("seed", -1, "must be at least 0"),
        ("seed", 2147483648, "must be at most 2147483647"),
        ("seed", Decimal("1.5"), "must be a whole number"),
        ("seed", True, "must be a whole number"),
        ("seed", Decimal("1E+999999"), "must be a whole number"),
        ("cfg_scale", Decimal("1.0000001"), "must be at most 1"),
        ("cfg_scale", Decimal("-0.1"), "must be at least 0"),
        ("cfg_scale", "0.5", "must be a number"),
        ("cfg_scale", True, "must be a number"),
        ("cfg_scale", float("nan"), "must be a finite number"),
        ("cfg_scale", Decimal("Infinity"), "must be a finite number"),
        ("cfg_scale", Decimal("1E-50"), "has a number with more than 40 digits"),
        ("image_urls", ["http://a/b", "http://a/c"], "takes at most 1"),
        ("image_urls", "http://a/b", "must be a list"),
        ("image_urls", ["cat.png"], "is neither an http(s) URL nor a data URI"),
        ("image_url", "ftp://example.com/a.png", "is neither an http(s) URL nor a data URI"),
        ("image_url", "https:///a.png", "is neither an http(s) URL nor a data URI"),
        ("image_url", "https://example.com:port/", "is not a valid URL"),
        ("image_url", "https://example.com/a b", "is a URL with a space or control character"),
        ("image_url", "data:text/plain;base64,QUJD", "is a data URI of type text/plain, no image"),
        ("image_url", "data:image/png,QUJD", "is a data URI that is not base64"),
        ("image_url", "data:image/png;base64", "is a data URI without a comma before its data"),
        ("image_url", "data:image/png;base64,QUJ", "is a data URI whose base64 is broken"),
        ("image_url", "data:image/png;base64,QU*JD", "is a data URI whose base64 is broken"),
        ("image_url", "data:image/png;base64,Q*JD", "is a data URI whose base64 is broken"),
        ("image_url", "data:image/png;base64,", "is a data URI without data"),
        ("camera_control", [1], "must be a JSON object"),
        ("camera_control", {"a": float("inf")}, "has a number that is not finite"),
        ("camera_control", {"a": 10**40}, "has a number with more than 40 digits"),
        ("camera_control", {"a": Decimal("1E+99")}, "has a number with more than 40 digits"),
        ("camera_control", {"\udc00": 1}, "has half of a surrogate pair"),
        ("camera_control", {"a": ["\0"]}, "has a NUL character"),
        ("camera_control", {1: 1}, "has a key that is not text"),
        ("siz", "1:1", "is not a field of kling-v2-6"),
    ],
)
def test_what_the_document_forbids(field: str, value: object, message: str) -> None:
    fault = _fault(**{field: value})
    assert (fault.field, fault.message) == (field, message)
    assert fault.mend


def test_audio_needs_mode_pro() -> None:
    assert _fault(audio=True).message == "audio needs mode pro"
    assert _fault(audio=True, mode="std").field == "audio"


def test_all_faults_are_told_at_once_with_contradictions() -> None:
    faults = _faults({"audio": True, "duration": 7, "siz": "1:1", "seed": -1})
    assert set(faults) == {"prompt", "audio", "duration", "siz", "seed"}
    assert faults["prompt"].message == "is missing"
    assert "size" in faults["siz"].mend


def test_a_faulty_mode_is_not_blamed_on_audio_too() -> None:
    assert set(_faults({"prompt": "x", "audio": True, "mode": "prof"})) == {"mode"}


def test_the_image_list_is_sent_as_image_url() -> None:
    url = "https://example.com/a.png"
    assert _json(image_urls=[url]) == _json(image_url=url) == _json(image_url=url, image_urls=[url])
    assert _fault(image_url=url, image_urls=[url + "x"]).field == "image_urls"


def test_images_end_at_ten_megabytes() -> None:
    def uri(size: int) -> str:
        return "data:image/png;base64," + base64.b64encode(bytes(size)).decode()

    _normal(image_url=uri(MAX_IMAGE_BYTES))
    for size in (MAX_IMAGE_BYTES + 1, MAX_IMAGE_BYTES + 99):
        fault = _fault(image_url=uri(size))
        assert fault.message == "is an image of more than 10 MB"
        assert fault.value is not None
        assert len(fault.value) <= 80


@pytest.mark.parametrize("same", [5, 5.0, Decimal("5.0"), Decimal("0.5E+1")])
def test_numbers_are_what_they_equal(same: object) -> None:
    assert _json(duration=same, seed=same) == _json(duration=5, seed=5)


def test_numbers_keep_every_digit() -> None:
    exact = "0.1234567890123456789012345678901"
    assert f'"cfg_scale":{exact}' in _json(cfg_scale=Decimal(exact + "00"))
    assert '"camera_control":{"zoom":1.5}' in _json(camera_control={"zoom": 1.50})


def test_deep_objects_are_refused() -> None:
    nested: dict[str, object] = {}
    for _ in range(30):
        nested = {"a": nested}
    assert "deeper" in _fault(camera_control=nested).message


@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1))
def test_text_is_kept_but_for_line_ends(prompt: str) -> None:
    normal = KLING.normalise({"prompt": prompt, "negative_prompt": prompt})
    assert normal.values["prompt"] == normal.values["negative_prompt"] == prompt
    for end in ("\r\n", "\r"):
        ends = KLING.normalise({"prompt": f"a{end}x{prompt}x{end}b"})
        assert ends.values["prompt"] == f"a\nx{prompt}x\nb"


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text()
_FIELD = st.sampled_from([*DOCUMENTED["properties"], "other"])


# The first text that hypothesis makes in a process builds its character tables.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(_FIELD, _ANY | st.lists(_ANY) | st.dictionaries(st.text(), _ANY)))
def test_any_input_is_normal_or_told_why_not(raw: dict[str, object]) -> None:
    """Never another exception; and a normal form is its own normal form."""
    normal: NormalInput | None = None
    faults: tuple[Fault, ...] = ()
    try:
        normal = KLING.normalise(raw)
    except InputError as error:
        faults = error.faults
    if normal is None:
        assert faults
        assert all(fault.message and fault.mend for fault in faults)
        assert not any("is not valid (" in fault.message for fault in faults)
    else:
        again = KLING.normalise(normal.values)
        assert canonical_json(again.values) == canonical_json(normal.values)


def test_unknown_models_get_a_suggestion() -> None:
    with pytest.raises(UnknownModelError) as caught:
        get_model("kling-v2.6")
    assert caught.value.mend == "Did you mean kling-v2-6?"
    with pytest.raises(UnknownModelError, match="Models known here: kling-v2-6"):
        get_model("sora")


@pytest.fixture
def another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that belongs to the package of models for a while."""
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    models.cache_clear()
    yield tmp_path
    sys.modules.pop("orchestrator.domain.models.further", None)
    models.cache_clear()


def test_a_further_model_is_one_more_file(another_directory: Path) -> None:
    (another_directory / "further.py").write_text(
        "from dataclasses import replace\n"
        "from orchestrator.domain.models.kling_v2_6 import MODEL as KLING\n"
        "MODEL = replace(KLING, slug='further')\n"
    )
    assert list(models()) == ["further", DEFAULT_MODEL]
    assert get_model("further").normalise({"prompt": "x"}).model == "further"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("promt", "prompt"),
        ("Prompts", "prompt"),
        ("modle", "model"),
        ("negative prompt", "negative_prompt"),
        ("cfg", "cfg_scale"),
        ("notes", None),
        ("", None),
    ],
)
def test_suggestions(word: str, meant: str | None) -> None:
    assert (
        suggestion(word, ["prompt", "id", "model", "mode", "cfg_scale", "negative_prompt"]) == meant
    )
