"""CSV as people and spreadsheets write it."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.results import COLUMNS
from orchestrator.errors import SpecError
from orchestrator.spec.csv_header import MAX_CELL
from tests.unit.spec.reading import Read, Reader

SCIENTIFIC = "is in scientific notation, as Excel shortens long numbers; digits may be lost"


def test_a_row_has_everything_that_later_parts_need(read: Reader) -> None:
    (row,) = read("id,Prompt ,size\nr1, A cat ,\n").rows
    assert (row.position, row.line, row.row_key, row.row_id) == (0, 2, "r1", "r1")
    assert (row.model, row.price_class) == ("kling-v2-6", "kling-v2-6/std/5s/silent")
    assert row.input_json == (
        '{"audio":false,"cfg_scale":0.5,"duration":5,"mode":"std","prompt":" A cat ","size":"16:9"}'
    )
    assert dict(row.source) == {"id": "r1", "Prompt": " A cat ", "size": ""}


def test_every_column_reaches_the_input(read: Reader) -> None:
    found = read(
        "prompt,model,size,duration,mode,audio,seed,cfg_scale,negative_prompt,image_urls,"
        "camera_control\n"
        'A cat,kling-v2-6,9:16,10,pro,true,42,0.70,rain,"[""https://a.b/c.png""]",'
        '"{""type"": ""simple"", ""zoom"": 1.50}"\n'
        "A dog,,,,,,,,,https://a.b/d.png,\n"
    )
    assert found.inputs[0] == {
        "prompt": "A cat",
        "size": "9:16",
        "duration": 10,
        "mode": "pro",
        "audio": True,
        "seed": 42,
        "cfg_scale": 0.7,
        "negative_prompt": "rain",
        "image_url": "https://a.b/c.png",
        "camera_control": {"type": "simple", "zoom": 1.5},
    }
    assert found.inputs[1]["image_url"] == "https://a.b/d.png"


def test_results_that_were_reused_are_a_spec_too(read: Reader) -> None:
    head, given = ",".join(COLUMNS), "," * (len(COLUMNS) - 1)
    found = read(f"{head},id,prompt,reused_from\n{given},a,a kite,one@default row a\n")
    assert not found.problems
    assert [(row.row_id, json.loads(row.input_json)["prompt"]) for row in found.rows] == [
        ("a", "a kite")
    ]
    assert [one.message for one in read("prompt,reused_from\nx,y\n").problems] == [
        "is not a known column"
    ]


def test_exported_results_are_a_spec_of_the_same_rows(read: Reader) -> None:
    plain = read("id,prompt,duration\nr1,A cat,10\n,A dog,\n")
    head = ",".join(COLUMNS)
    told = ",".join(["1", "r1", "failed", *[""] * 10, "moderation", "no"])
    again = read(f"{head},id,prompt,duration\n{told},r1,A cat,10\n{told},,A dog,\n")
    assert again.problems == []
    assert [(r.row_key, r.digest) for r in again.rows] == [
        (r.row_key, r.digest) for r in plain.rows
    ]
    assert again.spec.columns == ("id", "prompt", "duration")
    assert dict(again.rows[0].source) == dict(plain.rows[0].source)


def test_a_column_named_like_a_result_is_unknown_elsewhere(read: Reader) -> None:
    assert [told[3] for told in read("prompt,state\nA cat,x\n").told] == ["is not a known column"]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_line_ends_and_bom_change_nothing(
    read: Reader, bom: bytes, end: str, delimiter: str
) -> None:
    lines = ["PROMPT,size", "Übung,1:1", '"two', 'lines",9:16', "last,16:9"]
    text = end.join(line.replace(",", delimiter) for line in lines)
    found = read(bom + text.encode())
    assert [entry["prompt"] for entry in found.inputs] == ["Übung", "two\nlines", "last"]
    assert [row.line for row in found.rows] == [2, 3, 5]
    assert found.spec.columns == ("PROMPT", "size")


def test_a_single_column_may_hold_any_delimiter(read: Reader) -> None:
    assert read('prompt\na; b\n"c, d"\n').inputs[1]["prompt"] == "c, d"


def test_excels_line_that_names_the_delimiter(read: Reader) -> None:
    found = read("sep=;\nprompt;size\na, b;1:1\n")
    assert found.inputs[0]["prompt"] == "a, b"
    assert found.rows[0].line == 3


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("16:09", "16:9"),
        ("16:09:00", "16:9"),
        ("9:16:00", "9:16"),
        ("09:16", "9:16"),
        ("01:01", "1:1"),
        ("1:01", "1:1"),
        ("1:01:00", "1:1"),
    ],
)
def test_sizes_that_became_times(read: Reader, written: str, size: str) -> None:
    found = read(f"prompt,size\nA cat,{written}\n")
    assert found.inputs[0]["size"] == size
    (note,) = found.notes
    assert (note.line, note.column, note.field, note.value) == (2, 2, "size", written)
    assert size in note.message
    assert found.rows[0].source["size"] == written


@pytest.mark.parametrize("written", ["16:10", "16:09:30", "12:00", "0.67", "16/9"])
def test_times_that_are_no_size_stay_problems(read: Reader, written: str) -> None:
    assert read(f"prompt,size\nA cat,{written}\n").told == [
        (2, 2, "size", "must be 16:9, 9:16 or 1:1")
    ]


@pytest.mark.parametrize(
    ("column", "written", "value"),
    [
        ("size", " 16:9 ", "16:9"),
        ("duration", "5.0", 5),
        ("duration", "05", 5),
        ("duration", "５", 5),
        ("duration", " 10 ", 10),
        ("mode", "PRO", "pro"),
        ("seed", "7.00", 7),
        ("cfg_scale", ".5", 0.5),
        ("cfg_scale", "5E-1", 0.5),
        ("audio", "FALSE", False),
        ("audio", "no", False),
        ("audio", "0", False),
        ("audio", "Falsch", False),
    ],
)
def test_what_a_person_clearly_meant(
    read: Reader, column: str, written: str, value: object
) -> None:
    found = read(f"prompt,{column}\nA cat,{written}\n")
    assert found.inputs[0][column] == value
    assert not found.notes


@pytest.mark.parametrize("written", ["TRUE", "yes", "Yes", "1", "WAHR", "vrai"])
def test_sound_is_on(read: Reader, written: str) -> None:
    assert read(f"prompt,mode,audio\nA,pro,{written}\n").inputs[0]["audio"] is True


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_where_commas_do_not_separate(read: Reader, delimiter: str) -> None:
    text = "prompt|cfg_scale|duration\nA|0,5|5,0\n".replace("|", delimiter)
    assert read(text).inputs[0]["cfg_scale"] == 0.5


@pytest.mark.parametrize(
    ("column", "written", "message"),
    [
        ("cfg_scale", '"0,5"', "has a comma in a number"),
        ("cfg_scale", "half", "must be a number"),
        ("cfg_scale", "1E400", "has a number with more than 40 digits"),
        ("seed", "2.1E+09", SCIENTIFIC),
        ("seed", "9" * 5000, "must be a whole number"),
        ("camera_control", '"{""a"":1,""a"":2}"', "has the key a twice"),
        ("camera_control", '"{""a"":NaN}"', "has the number NaN, which JSON does not know"),
        ("camera_control", '"{""a"":1e999999999999999999999}"', "has a number out of range"),
        ("camera_control", "[" * 100_000, "nests too deep"),
        ("camera_control", "[1]", "must be a JSON object"),
        ("image_urls", '"[""https://a/b"", ""https://a/c""]"', "takes at most 1"),
        ("model", "kling-v2.6", "is not a model this version knows"),
    ],
)  # fmt: skip
def test_cells_that_stand_for_nothing(
    read: Reader, column: str, written: str, message: str
) -> None:
    found = read(f"prompt,{column}\nA cat,{written}\n")
    assert found.told == [(2, 2, column, message)]
    assert len(found.problems[0].value or "") <= 80


def test_json_that_is_none_says_where(read: Reader) -> None:
    (problem,) = read("prompt,camera_control\nA cat,{a}\n").problems
    assert problem.message.startswith("is not valid JSON (")
    assert problem.message.endswith(" at character 2)")


def test_empty_rows_and_columns_are_ignored(read: Reader) -> None:
    found = read("prompt,size,,\nA,1:1,,\n,,,\n\nB,,,,,,\n , \t,,\n,,,\n")
    assert [row.line for row in found.rows] == [2, 5]
    assert [row.position for row in found.rows] == [0, 1]
    assert found.spec.columns == ("prompt", "size")
    assert dict(found.rows[1].source) == {"prompt": "B", "size": ""}


def test_short_rows_take_the_defaults_and_long_ones_are_problems(read: Reader) -> None:
    found = read("prompt,size\nA\nB, with commas, and more\n")
    assert found.inputs[0]["size"] == "16:9"
    assert found.told == [(3, 3, None, "the row has 3 cells, the header 2")]
    assert '","' in found.problems[0].mend


def test_text_under_no_name_is_a_problem(read: Reader) -> None:
    assert read("prompt,,size\nA,x,1:1\n").told == [(2, 2, None, "is in a column without a name")]


def test_ids(read: Reader) -> None:
    long = "x" * 201
    found = read(
        f'id,prompt\n1.2E+15,a\n~x,b\n{long},c\n a b ,d\nzero\u200bwidth,e\na b,f\n"1,2E+15",g\n'
    )
    assert [row.row_key for row in found.rows] == ["a b"]
    assert [(line, field) for line, _, field, _ in found.told] == [
        (line, "id") for line in (2, 3, 4, 6, 7, 8)
    ]
    assert all("Excel" in found.problems[n].message for n in (0, 5))
    assert found.problems[4].message == "is the id of two rows, in lines 5 and 7"


def test_unknown_columns_get_a_suggestion_once(read: Reader) -> None:
    found = read("promt,size\nA,1:1\nB,7:7\n")
    assert found.told == [
        (1, 1, "promt", "is not a known column"),
        (3, 2, "size", "must be 16:9, 9:16 or 1:1"),
    ]
    assert found.problems[0].mend == 'Did you mean "prompt"?'
    assert not found.rows


def test_columns_that_mean_nothing_and_columns_that_come_twice(read: Reader) -> None:
    found = read("prompt,notes,size,SIZE\nA,x,1:1,\n")
    assert [(column, field) for _, column, field, _ in found.told] == [(2, "notes"), (4, "size")]
    assert len(found.rows) == 1


@pytest.mark.parametrize("mark", [":", "^", "~"])
def test_a_delimiter_that_is_not_looked_for_is_named(read: Reader, mark: str) -> None:
    found = read(f"prompt{mark}duration\nA cat{mark}5\n")
    assert found.told == [(1, 1, "prompt", "there is no column prompt")]
    assert f"--delimiter '{mark}'" in found.problems[0].mend


def test_a_file_without_a_header_is_told_so_once(read: Reader) -> None:
    assert read("A cat,16:9\nA dog,1:1\n").told == [(1, 1, "prompt", "there is no column prompt")]


def test_several_problems_of_one_row_come_in_its_order(read: Reader) -> None:
    found = read("audio,duration,prompt,size\nTRUE,7,,4:3\n")
    assert [(column, field) for _, column, field, _ in found.told] == [
        (1, "audio"), (2, "duration"), (3, "prompt"), (4, "size"),
    ]  # fmt: skip


@pytest.mark.parametrize("blank", ['" "', '"\t"', '"\n"', ""])
def test_a_blank_prompt_is_no_prompt(read: Reader, blank: str) -> None:
    assert read(f"prompt,size\n{blank},1:1\n").told == [(2, 1, "prompt", "is missing")]


def test_an_open_quote_is_named_with_its_line(read: Reader) -> None:
    found = read('prompt,negative_prompt\nA,\n"two\nlines","opens here\nB,\nC,\n')
    assert found.told == [(4, 1, None, "a double quote opens here and is never closed")]
    assert len(found.rows) == 1
    assert "after it" in found.problems[0].mend


def test_a_quote_that_closes_too_early(read: Reader) -> None:
    found = read('prompt,size\n"A cat"x,1:1\nB,\n"open\nC,\n"then",\n')
    assert [(line, text[:12]) for line, _, _, text in found.told] == [
        (2, "a double quo"),
        (4, "a double quo"),
    ]
    assert [row.line for row in found.rows] == [3]


def test_quotes_inside_an_unquoted_cell_are_text(read: Reader) -> None:
    assert read('prompt\nHe says "hi" twice\n').inputs[0]["prompt"] == 'He says "hi" twice'


def test_huge_cells_are_bounded(read: Reader) -> None:
    found = read("prompt\n" + "x" * (MAX_CELL + 1) + "\nB\n")
    assert [line for line, *_ in found.told] == [2]
    assert f"{MAX_CELL:,}" in found.problems[0].message
    assert len(found.rows) == 1


def test_nothing_but_a_header_is_no_spec(read: Reader) -> None:
    for text in ("prompt\n", "prompt,size\n,\n\n", "prompt"):
        with pytest.raises(SpecError, match="has a header but no rows"):
            read(text)


def test_rows_can_be_read_again(read: Reader) -> None:
    found = read("id,prompt\na,A\na,B\n,B\n,B\n")
    assert list(found.spec.rows()) == [found.rows[0], *found.problems, *found.rows[1:]]


def _write(rows: list[tuple[str, str]], end: str = "\n") -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerows([("prompt", "size"), *rows])
    return out.getvalue()


_PROMPT = st.text(
    st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda text: bool(text.strip()))
_ROWS = st.lists(
    st.tuples(_PROMPT, st.sampled_from(["16:9", "9:16", "1:1"])), min_size=1, max_size=6
)
_shared = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)


def _keys(found: Read) -> list[str]:
    assert not found.problems
    return [row.row_key for row in found.rows]


@_shared
@given(_ROWS, st.randoms())
def test_order_changes_no_key_and_equal_rows_stay_distinct(
    read: Reader, rows: list[tuple[str, str]], random: object
) -> None:
    keys = _keys(read(_write(rows)))
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert len(set(keys)) == len(rows)
    assert sorted(_keys(read(_write(shuffled)))) == sorted(keys)


@_shared
@given(_ROWS)
def test_line_ends_change_no_key(read: Reader, rows: list[tuple[str, str]]) -> None:
    dos = [(prompt.replace("\n", "\r\n"), size) for prompt, size in rows]
    assert _keys(read(_write(dos, "\r\n"))) == _keys(read(_write(rows)))


@_shared
@given(_ROWS, st.data())
def test_an_edit_changes_exactly_one_key(
    read: Reader, rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    edited = list(rows)
    edited[at] = ("edited " + "x" * 20, rows[at][1])
    before, after = set(_keys(read(_write(rows)))), set(_keys(read(_write(edited))))
    assert len(before - after) == len(after - before) == 1


def test_each_row_with_an_id_that_was_there_names_the_first(read: Reader) -> None:
    found = read("id,prompt\n" + "".join(f"{row_id},p\n" for row_id in "abacca"))
    said = [(problem.line, problem.message) for problem in found.problems]
    assert said == [
        (4, "is the id of two rows, in lines 2 and 4"),
        (6, "is the id of two rows, in lines 5 and 6"),
        (7, "is the id of two rows, in lines 2 and 7"),
    ]
