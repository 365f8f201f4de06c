"""YAML specs: 1.2 rules, defaults, items, and the order in which lists multiply."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import yaml_head
from tests.unit.spec.reading import Reader

NAME = "spec.yaml"


def test_yaml_1_2_keeps_text_as_text(read: Reader) -> None:
    found = read(
        "prompts: [yes, 2024, true, 1e3, '~', 2026-11-23, 1_000, 12:30:45]\nsizes: [16:9]\n", NAME
    )
    prompts = ["yes", "2024", "true", "1e3", "~", "2026-11-23", "1_000", "12:30:45"]
    assert [entry["prompt"] for entry in found.inputs] == prompts
    assert {entry["size"] for entry in found.inputs} == {"16:9"}
    assert not found.notes


def test_the_head(read: Reader) -> None:
    found = read(
        "name: launch.2+x\nmodel: kling-v2-6\nbudget: 25.50\nprompts: [a]\n",
        NAME,
    )
    header = found.spec.header
    assert (header.name, header.model) == ("launch.2+x", "kling-v2-6")
    assert (header.budget, header.budget_nanos) == (Decimal("25.50"), 25_500_000_000)
    bare = read("prompts: [a]\n", NAME).spec.header
    assert (bare.name, bare.model, bare.budget, bare.budget_nanos) == (None, None, None, None)


def test_until_when_where_to_and_whether_again(read: Reader) -> None:
    header = read(
        "deadline: 2026-12-01T18:00+01:00\ndownload: videos\nreuse: true\nretries: 2\n"
        "prompts: [a]\n",
        NAME,
    ).spec.header
    assert header.deadline is not None
    assert header.deadline.moment(5) == 1_796_144_400_000
    assert (header.download, header.reuse, header.retries) == ("videos", True, 2)
    later = read("deadline: 6h\nprompts: [a]\n", NAME).spec.header
    assert later.deadline is not None
    assert later.deadline.moment(5) == 6 * 3_600_000 + 5
    bare = read("prompts: [a]\n", NAME).spec.header
    assert (bare.deadline, bare.download, bare.reuse) == (None, None, False)


@pytest.mark.parametrize(
    "line",
    [
        "deadline: 2026-12-01T18:00",
        "deadline: soon",
        "deadline: 0h",
        "deadline: 99999999999d",
        "deadline: [6h]",
        "download: 7",
        "download: ''",
        "reuse: sometimes",
        "reuse: 1",
    ],
)
def test_a_head_that_cannot_be_understood(read: Reader, line: str) -> None:
    (told,) = read(f"{line}\nprompts: [a]\n", NAME).told
    assert told[:1] + told[2:3] == (1, line.partition(":")[0])


def test_items_are_prompts_or_mappings_over_the_defaults(read: Reader) -> None:
    found = read(
        "defaults: {mode: pro, seed: 7, image_url: 'https://a.b/c.png'}\n"
        "items:\n"
        "- A cat\n"
        "- prompt: A dog\n"
        "  id: 001\n"
        "  audio: yes\n"
        "  seed: null\n"
        "  image_urls: [https://a.b/d.png]\n",
        NAME,
    )
    first, second = found.inputs
    assert (first["mode"], first["seed"], first["image_url"]) == ("pro", 7, "https://a.b/c.png")
    assert "seed" not in second
    assert (second["audio"], second["image_url"]) == (True, "https://a.b/d.png")
    assert [row.row_id for row in found.rows] == [None, "001"]
    assert [row.line for row in found.rows] == [3, 4]
    assert found.spec.columns == (
        "prompt", "id", "mode", "seed", "audio", "image_url", "image_urls",
    )  # fmt: skip
    assert found.rows[1].source["image_urls"] == '["https://a.b/d.png"]'
    assert found.rows[0].source["mode"] == "pro"


@pytest.mark.parametrize("default", ["image_url: https://a/1.png", "image_urls: [https://a/1.png]"])
@pytest.mark.parametrize("own", ["image_url: https://a/2.png", "image_urls: [https://a/2.png]"])
def test_an_image_replaces_the_default_image(read: Reader, default: str, own: str) -> None:
    found = read(f"defaults: {{{default}}}\nitems: [{{prompt: a, {own}}}]\n", NAME)
    assert found.inputs[0]["image_url"] == "https://a/2.png"


def test_lists_multiply_prompts_outermost_then_in_the_schemas_order(read: Reader) -> None:
    found = read(
        "durations: [5, 10]\nsize: [16:9, 1:1]\nmodes: [std, pro]\nprompts: [a, b]\n"
        "items: [first]\nnegative_prompts: [rain]\n",
        NAME,
    )
    made = [(i["prompt"], i["mode"], i["size"], i["duration"]) for i in found.inputs]
    assert made[0] == ("first", "std", "16:9", 5)
    assert made[1:] == [
        (prompt, mode, size, duration)
        for prompt in "ab"
        for mode in ("std", "pro")
        for size in ("16:9", "1:1")
        for duration in (5, 10)
    ]
    assert [row.position for row in found.rows] == list(range(17))
    assert found.rows[1].line == found.rows[8].line == 4


def test_any_input_can_be_a_list(read: Reader) -> None:
    found = read(
        "prompt: a\nmode: pro\naudio: [true, false]\nseeds: [1, 2]\ncfg_scales: [0.5]\n"
        "image_urls: [https://a/1.png, https://a/2.png]\n"
        "camera_control: {type: simple, zoom: 1.50}\n",
        NAME,
    )
    assert len(found.rows) == 8
    assert len({row.row_key for row in found.rows}) == 8
    assert found.rows[0].input_json.startswith(
        '{"audio":true,"camera_control":{"type":"simple","zoom":1.5},'
    )


def test_numbers_lose_nothing(read: Reader) -> None:
    exact = "0.12345678901234567890123456789"
    found = read(f"items: [{{prompt: a, cfg_scale: {exact}, duration: 5.0}}]\n", NAME)
    assert f'"cfg_scale":{exact},"duration":5' in found.rows[0].input_json


def test_equal_inputs_have_equal_keys_in_both_formats(read: Reader) -> None:
    table = read("prompt,size,cfg_scale\nA cat,16:9,0.50\n").rows[0]
    tree = read("items:\n- {cfg_scale: .5, prompt: A cat}\n", NAME).rows[0]
    assert (table.row_key, table.digest, table.input_json) == (
        tree.row_key, tree.digest, tree.input_json,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("promts: [a]\n", [(1, 1, "promts", "is not a known key")]),
        ("name: a b\nprompts: [a]\n", [(1, 7, "name", "has characters that names cannot have")]),
        ("budget: lots\nprompts: [a]\n", [(1, 9, "budget", "'lots' is not an amount")]),
        ("budget: -1\nprompts: [a]\n", [(1, 9, "budget", "-1 is negative")]),
        ("budget: [1]\nprompts: [a]\n", [(1, 9, "budget", "must be a single value")]),
        ("model: sora\nprompts: [a]\n",
         [(1, 8, "model", "is not a model this version knows")]),
        ("prompts: [a]\ndefaults: [b]\n", [(2, 11, "defaults", "must be a mapping")]),
        ("prompts: [a]\ndefaults: {id: b, siz: 1:1}\n",
         [(2, 12, "id", "cannot be a default"), (2, 19, "siz", "is not a known field")]),
        ("items: a\n", [(1, 8, "items", "must be a list")]),
        ("items: [[a]]\n", [(1, 9, "items", "is a list inside the list of items")]),
        ("items: [{prompt: a, siz: 1:1}]\n",
         [(1, 26, "siz", "is not a field of kling-v2-6")]),
        ("items: [{prompt: [a]}]\n", [(1, 18, "prompt", "must be text")]),
        ("items:\n-\n", [(2, 2, "prompt", "is missing")]),
        ("prompts: []\n", [(1, 1, "prompts", "is an empty list")]),
        ("sizes: [1:1]\nitems: [a]\n",
         [(1, 1, "sizes", "multiplies nothing: there are no prompts")]),
        ("prompts: [a]\nsize: [1:1]\nsizes: [1:1]\n",
         [(3, 1, "sizes", "is given twice: size is the same list")]),
        ("prompts: [a]\nmode: pro\nitems: [b]\n",
         [(2, 1, "mode", "would not apply to items")]),
        ("prompts: [a]\nprompts: [b]\n", [(2, 1, "prompts", "is there twice, first in line 1")]),
        ("items: [{prompt: a, id: x}, {prompt: b, id: x}]\n",
         [(1, 45, "id", "is the id of two rows, in lines 1 and 1")]),
        ("items: [{prompt: a, camera_control: {a: 1e500}}]\n",
         [(1, 37, "camera_control", "has a number with more than 40 digits")]),
    ],
)  # fmt: skip
def test_problems_have_their_place(
    read: Reader, text: str, told: list[tuple[int, int, str, str]]
) -> None:
    found = read(text, NAME)
    assert found.told == told
    assert all(problem.mend for problem in found.problems)


def test_problems_of_head_and_rows_come_in_one_pass(read: Reader) -> None:
    found = read("name: a b\nmodle: x\nitems: [{prompt: a, duration: 7}, '']\n", NAME)
    assert [field for _, _, field, _ in found.told] == ["modle", "name", "duration", "prompt"]
    assert "model" in found.problems[0].mend


def test_a_shared_value_is_complained_about_once(read: Reader) -> None:
    found = read("prompts: [a, b, c]\nsizes: [4:3, 16:09]\ndefaults: {seed: -1}\n", NAME)
    assert found.told == [
        (2, 9, "size", "must be 16:9, 9:16 or 1:1"),
        (3, 18, "seed", "must be at least 0"),
    ]
    assert len(found.notes) == 1
    assert not found.rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompts: [a\n", "is not YAML"),
        ("prompts:\n\t- a\n", "is not YAML"),
        ("prompts: [\x01]\n", "is not YAML"),
        ('prompts: ["\\ud800"]\n', "1:14 is not YAML: found invalid Unicode character"),
        ("prompts:\n- a\n- b\ufdd0\n", "3:4 has U\\+FDD0"),
        ("- a\n- b\n", "the top level is not a mapping"),
        ("just text\n", "the top level is not a mapping"),
        ("prompts: [a]\n---\nprompts: [b]\n", "has a second document"),
        ("# only a comment\n", "has no content"),
        ("name: x\n", "has no rows"),
        ("items: []\n", "has no rows"),
        ("? [a]\n: b\n", "has a key that is not text"),
        ("prompts: [!!python/name:os.system a]\n", "has the tag"),
        ("a: &a [*a]\n", "stands for nothing yet"),
        ("prompts: [*gone]\n", "stands for nothing yet"),
        ("prompts: " + "[" * 50 + "]" * 50 + "\n", "nests deeper"),
        ("prompts: " + "[" * 5000 + "]" * 5000 + "\n", "maximum nesting depth"),
    ],
)
def test_files_that_are_no_spec(read: Reader, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read(text, NAME)
    assert caught.value.mend


def test_anchors_and_aliases_work(read: Reader) -> None:
    found = read("defaults: &d {size: 1:1}\nitems: [&x {prompt: a}, *x]\nprompts: [b]\n", NAME)
    assert [row.row_key[-1] for row in found.rows] == ["1", "2", "1"]


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029"])
def test_what_only_yaml_1_1_took_for_line_breaks_is_text(read: Reader, letter: str) -> None:
    text = f'prompts:\n- a{letter}b\n- "c {letter} d"\n- |\n  e{letter}f\nsizes: [4:3]\n'
    found = read(text, NAME)
    assert [row[:2] for row in found.told] == [(6, 9)], "lines are counted as YAML 1.2 does"
    rows = read(text.replace("4:3", "1:1"), NAME).rows
    prompts = [json.loads(row.input_json)["prompt"] for row in rows]
    assert prompts == [f"a{letter}b", f"c {letter} d", f"e{letter}f\n"]


def test_alias_bombs_do_not_go_off(read: Reader) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(SpecError, match="once its aliases are expanded"):
        read("\n".join(lines) + "\n", NAME)


def test_lists_that_multiply_too_far(read: Reader) -> None:
    seeds = ", ".join(map(str, range(1001)))
    prompts = ", ".join(f"p{n}" for n in range(1000))
    found = read(f"prompts: [{prompts}]\nseeds: [{seeds}]\n", NAME)
    assert found.told == [
        (1, 1, "prompts", "the lists multiply to 1,001,000 rows, more than 1,000,000")
    ]
    assert yaml_head.MAX_PRODUCT == 1_000_000
