"""YAML specs that say more: exclude, include, takes, counted seeds, tables with templates."""

from __future__ import annotations

import string
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec.templates import parse_template
from tests.unit.spec.reading import Reader

SHARE = "a share is a number such as 0.2 or 20%, a ratio one such as 1.2"
NAME = "spec.yaml"
PRODUCTS = "sku,Style,product\na1,cosy,lamp\nb2,bold,chair\n"


def _table(folder: Path, text: str, name: str = "products.csv") -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_exclude_leaves_out_what_agrees_with_all_it_names(read: Reader) -> None:
    found = read(
        "prompts: [a, b]\nsizes: [16:9, 1:1]\ndurations: [5, 10]\n"
        "exclude:\n- {size: 1:1, duration: 10.0}\n- {prompt: b, size: [16:9]}\n",
        NAME,
    )
    assert not found.problems
    assert [(i["prompt"], i["size"], i["duration"]) for i in found.inputs] == [
        ("a", "16:9", 5), ("a", "16:9", 10), ("a", "1:1", 5), ("b", "1:1", 5),
    ]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_exclusion_changes_no_other_key(read: Reader, data: st.DataObject) -> None:
    """What is left has the keys and the order that it had without the exclusion."""
    sizes, durations = ["16:9", "9:16", "1:1"], [5, 10]
    gone = data.draw(
        st.lists(
            st.tuples(st.sampled_from(sizes), st.sampled_from(durations)),
            min_size=1, max_size=5, unique=True,
        )
    )  # fmt: skip
    text = "prompts: [a, b]\nsizes: [16:9, 9:16, 1:1]\ndurations: [5, 10]\n"
    whole = read(text, NAME)
    lines = "".join(f"- {{size: {size}, duration: {duration}}}\n" for size, duration in gone)
    part = read(f"{text}exclude:\n{lines}", NAME)
    combinations = [(p, s, d) for p, s, d in product("ab", sizes, durations)]
    keys = [row.row_key for row in whole.rows]
    expected = [k for k, (_, s, d) in zip(keys, combinations, strict=True) if (s, d) not in gone]
    assert [row.row_key for row in part.rows] == expected


def test_include_comes_after_the_lists(read: Reader) -> None:
    found = read(
        "defaults: {mode: pro}\nprompts: [a]\nsizes: [16:9]\ninclude:\n"
        "- {prompt: a, size: 1:1}\n- words\nitems: [first]\n",
        NAME,
    )
    assert [(i["prompt"], i["size"], i["mode"]) for i in found.inputs] == [
        ("first", "16:9", "pro"), ("a", "16:9", "pro"), ("a", "1:1", "pro"),
        ("words", "16:9", "pro"),
    ]  # fmt: skip
    assert not found.problems


def test_takes_are_videos_of_their_own_and_more_of_them_change_no_key(read: Reader) -> None:
    text = "items: [{id: x, prompt: a}, {prompt: c, takes: 1}]\nprompts: [b]\n"
    two, three = read(f"takes: 2\n{text}", NAME), read(f"takes: 3\n{text}", NAME)
    keys = [row.row_key for row in two.rows]
    assert keys[:2] == ["x", "x#2"]
    assert [key[-2:] for key in keys[2:]] == [".1", ".1", ".2"]
    assert set(keys) < {row.row_key for row in three.rows}
    assert len(three.rows) == 7
    plain = {row.row_key for row in read(text, NAME).rows}
    assert plain < set(keys)
    assert len({row.digest for row in two.rows}) == 3


def test_seeds_can_be_counted(read: Reader) -> None:
    counted = read("prompts: [a]\nseeds: {count: 3, from: 41}\n", NAME)
    assert [values["seed"] for values in counted.inputs] == [41, 42, 43]
    listed = read("prompts: [a]\nseeds: [41, 42, 43]\n", NAME)
    assert [row.row_key for row in counted.rows] == [row.row_key for row in listed.rows]
    assert [i["seed"] for i in read("prompt: a\nseeds: {count: 2}\n", NAME).inputs] == [0, 1]


def test_rows_of_a_table_fill_templates(read: Reader, tmp_path: Path) -> None:
    _table(tmp_path, PRODUCTS)
    found = read(
        "rows: products.csv\nkeep: [sku]\nprompt: 'A {style} shot of {Product} {{4K}}'\n"
        "sizes: [16:9, 1:1]\nid: '{sku}-{size}'\n",
        NAME,
    )
    assert not found.problems
    assert [(row.row_key, i["prompt"], i["size"]) for row, i in
            zip(found.rows, found.inputs, strict=True)] == [
        ("a1-16:9", "A cosy shot of lamp {4K}", "16:9"),
        ("a1-1:1", "A cosy shot of lamp {4K}", "1:1"),
        ("b2-16:9", "A bold shot of chair {4K}", "16:9"),
        ("b2-1:1", "A bold shot of chair {4K}", "1:1"),
    ]  # fmt: skip
    assert found.spec.columns == ("prompt", "id", "size", "sku")
    assert dict(found.rows[1].source) == {
        "prompt": "A cosy shot of lamp {4K}", "id": "a1-1:1", "size": "1:1", "sku": "a1",
    }  # fmt: skip
    assert [row.line for row in found.rows] == [2, 2, 3, 3]


def test_columns_that_are_fields_are_those_of_their_row(read: Reader, tmp_path: Path) -> None:
    _table(tmp_path, "id;prompt;cfg_scale;x_who\nr1;cat;0,7;Ann\nr2;dog;;\n")
    found = read(
        "rows: products.csv\nprompt: '{prompt}, at night'\ndefaults: {cfg_scale: 0.2}\n", NAME
    )
    assert not found.problems
    assert [(i["prompt"], i["cfg_scale"]) for i in found.inputs] == [
        ("cat, at night", 0.7), ("dog, at night", 0.2),
    ]  # fmt: skip
    assert [(row.row_id, row.source["x_who"]) for row in found.rows] == [("r1", "Ann"), ("r2", "")]
    bare = read("rows: products.csv\n", NAME)
    assert [i["prompt"] for i in bare.inputs] == ["cat", "dog"]


def test_braces_mean_nothing_without_a_table(read: Reader) -> None:
    assert read("prompts: ['a {b} {{c}}', '}']\n", NAME).inputs[0]["prompt"] == "a {b} {{c}}"


def test_own_keys_of_items_come_back(read: Reader) -> None:
    found = read("keep: owner\nitems:\n- {prompt: a, x_n: 1, Owner: Ann}\n- b\n", NAME)
    assert found.spec.columns == ("prompt", "x_n", "Owner")
    assert [dict(row.source) for row in found.rows] == [
        {"prompt": "a", "x_n": "1", "Owner": "Ann"}, {"prompt": "b", "x_n": "", "Owner": ""},
    ]  # fmt: skip
    plain = read("items: [a]\n", NAME).rows[0].row_key
    assert found.rows[0].row_key == plain


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompts: [a]\nexclude: [{size: 1:1}]\n",
         [(2, 12, "size", "is not one of the lists", "The lists: prompt.")]),
        ("prompts: [a, b]\nsizes: [1:1]\nexclude: [{siz: 1:1}]\n",
         [(3, 12, "siz", "is not one of the lists", "Did you mean size?")]),
        ("prompts: [a, b]\nexclude: [{prompt: c}]\n",
         [(2, 20, "prompt", "excludes nothing: the list does not have it",
           "The list has a, b.")]),
        ("prompts: [a]\nexclude: [{prompt: a}]\n",
         [(2, 10, "exclude", "leaves nothing", "Exclude less.")]),
        ("prompts: [a]\nexclude: [b]\n",
         [(2, 11, "exclude", "must be a mapping",
           "Write what to leave out: - {size: 1:1, duration: 10}.")]),
        ("prompts: [a]\nsizes: [1:1]\ninclude: [{prompt: a, size: 01:01}]\n",
         [(3, 11, "include", "is made by the lists already",
           "Leave it out; for more videos of one input write takes: 2.")]),
        ("prompts: [a]\ntakes: 0\n",
         [(2, 8, "takes", "is not a number of takes", "Write a whole number from 1 to 1,000.")]),
        ("items: [{prompt: a, takes: x}]\n",
         [(1, 28, "takes", "is not a number of takes", "Write a whole number from 1 to 1,000.")]),
        ("prompts: [a]\nseeds: {from: 1}\n",
         [(2, 8, "seeds", "has no number of seeds",
           "Write count as a whole number from 1 to 1,000,000.")]),
        ("prompts: [a]\nseeds: {count: 2, from: 2147483647}\n",
         [(2, 8, "seeds", "goes beyond the largest seed, 2,147,483,647",
           "Begin lower, or count fewer.")]),
        ("prompts: [a]\nkeep: [size, state]\n",
         [(2, 8, "keep", "is a field that is kept anyway", "Leave it out of keep."),
          (2, 14, "keep", "is the name of a column of results", "Rename it, to x_state say.")]),
        ("prompts: [a]\npriority: 0\n",
         [(2, 11, "priority", "is not a number of that kind",
           "Write a whole number from 1 to 100.")]),
        ("prompts: [a]\ncanary: {failures: x}\n",
         [(2, 9, "canary", "does not say how many rows", "Write rows: 10.")]),
        ("prompts: [a]\ncanary: {rows: 2, failures: x, bound: 1}\n",
         [(2, 29, "failures", f"cannot be read: {SHARE}", "Mend it."),
          (2, 32, "bound", "is not a key of canary", "Known: rows, failures, cost, deadline.")]),
        ("prompts: [a]\nid: b\n",
         [(2, 5, "id", "is one id for many rows",
           "Write it in each of items, or name a table of rows.")]),
    ],
)  # fmt: skip
def test_slips_have_their_place_and_mend(
    read: Reader, text: str, told: list[tuple[int, int, str, str, str]]
) -> None:
    found = read(text, NAME)
    assert [(p.line, p.column, p.field, p.message, p.mend) for p in found.problems] == told


@pytest.mark.parametrize(
    ("spec", "table", "message", "mend"),
    [
        ("prompt: '{stile} {product} {sku}'", PRODUCTS, "has no column for {stile}", "{style}"),
        ("prompt: '{style} {product}'", PRODUCTS, "is a column that nothing uses", "{sku}"),
        ("prompt: '{style} {product} {sku'", PRODUCTS, "has a lone {", "{{"),
        ("prompt: '{style} {product} {sku} {}'", PRODUCTS, "braces without a name", "{{ and }}"),
        ("prompt: '{style} {product} {sku}'", "sku,Style,product\na,,b\n", "is empty", "Fill"),
        ("prompt: '{a}'\nsizes: [1:1]", "a,size\nb,16:9\n", "is given twice", "{size}"),
        ("prompt: '{a}'\nsizes: [1:1, 16:9]", "id,a\nr,b\n", "the id of several", "{id}-{size}"),
        ("sizes: [1:1]", "x_a\nb\n", "makes no prompts", "{style}"),
        ("prompt: '{a}'\ndefaults: {negative_prompt: 'no {a}'}", "a\nb\n",
         "is a template", "negative_prompt: "),
        ("prompt: '{a}'", "a,a\nb,c\n", "is the name of two columns", "one of the two"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit(
    read: Reader, tmp_path: Path, spec: str, table: str, message: str, mend: str
) -> None:
    _table(tmp_path, table)
    found = read(f"rows: products.csv\n{spec}\n", NAME)
    (problem,) = [p for p in found.problems if message in p.message]
    assert mend in problem.mend
    assert not found.rows


@pytest.mark.parametrize(
    "spec",
    [
        "prompt: '{style} {product} {sku'",
        "prompt: '{sytle} {product} {sku}'",
        "prompt: '{style} {product} {sku} {}'",
        "prompt: '{style} {product} {sku}'\nid: '{sku}'\ndurations: [5, 10]",
    ],
)
def test_what_is_wrong_with_a_template_is_said_once(
    read: Reader, tmp_path: Path, spec: str
) -> None:
    _table(tmp_path, PRODUCTS)
    assert len(read(f"rows: products.csv\n{spec}\n", NAME).problems) == 1


@pytest.mark.parametrize(
    "ids", ["id: '{sku}-{duration}'\ndurations: [5, 10]", "id: '{sku}'\ndurations: [5]"]
)
def test_ids_that_lists_do_not_multiply(read: Reader, tmp_path: Path, ids: str) -> None:
    _table(tmp_path, PRODUCTS)
    found = read(f"rows: products.csv\nprompt: '{{style}} {{product}} {{sku}}'\n{ids}\n", NAME)
    assert not found.problems
    assert found.rows


def test_a_bad_row_of_a_table_is_named_where_it_stands(read: Reader, tmp_path: Path) -> None:
    _table(tmp_path, "what,duration\ncat,5\ndog,7\n")
    found = read("rows: products.csv\nprompt: '{what}'\nmodes: [std, best]\n", NAME)
    told = {(Path(p.file).name, p.line, p.column, p.field) for p in found.problems}
    assert told == {("products.csv", 3, 2, "duration"), ("spec.yaml", 3, 14, "mode")}


@pytest.mark.parametrize(
    ("rows", "message"),
    [("gone.csv", "there is no file"), ("a.xml", "no table that can be read"), (".", "no table")],
)
def test_tables_that_cannot_be_read(read: Reader, rows: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(f"rows: {rows}\nprompt: a\n", NAME)


_NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=3)


@given(st.lists(st.one_of(st.text(max_size=6), _NAMES.map(lambda name: (name,))), max_size=6))
def test_templates_give_back_every_literal(parts: list[str | tuple[str]]) -> None:
    written = "".join(
        f"{{{part[0]}}}" if isinstance(part, tuple) else part.replace("{", "{{").replace("}", "}}")
        for part in parts
    )
    meant = "".join(f"<{part[0]}>" if isinstance(part, tuple) else part for part in parts)
    template = parse_template(written)
    assert template.fill({name: f"<{name}>" for name in template.names}) == meant
