"""File names made of what people write: safe, told apart, and the same every time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.naming import DEFAULT_TEMPLATE, MAX_BYTES, Template, fold
from orchestrator.errors import UsageError

VALUES = {"position": 7, "row_key": "rain", "name": "launch", "label": "default", "ordinal": 1}


def named(template: str, /, again: int = 0, **values: object) -> str:
    columns = tuple(name for name in values if name not in VALUES)
    return Template(template, columns).fill(VALUES | values, again=again)


def test_the_default_name() -> None:
    assert named(DEFAULT_TEMPLATE) == "00007-rain.mp4"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("../../etc/passwd", "_.._.._etc_passwd.mp4"),
        ("..", "_.mp4"),
        ("", "_.mp4"),
        ("con", "_con.mp4"),
        ("a/b\\c:d", "a_b_c_d.mp4"),
        ("tab\there", "tab_here.mp4"),
        ("  spaced.  ", "spaced.mp4"),
        ("e\u0301te\u0301", "été.mp4"),
    ],
)
def test_a_value_never_leads_out_of_its_folder(key: str, name: str) -> None:
    assert named("{row_key}.mp4", row_key=key) == name


@given(
    key=st.text(max_size=300),
    prompt=st.text(max_size=300),
    again=st.integers(0, 20),
    ordinal=st.integers(1, 9),
)
def test_every_name_is_one_that_file_systems_take(
    key: str, prompt: str, again: int, ordinal: int
) -> None:
    path = named(
        "{row_key}/{prompt:.60}-{position}.mp4", again, row_key=key, prompt=prompt, ordinal=ordinal
    )
    parts = path.split("/")
    assert 1 <= len(parts) <= 2
    for part in parts:
        assert 0 < len(part.encode()) <= MAX_BYTES
        assert part.strip(" .") == part.rstrip(" .") == part
        assert not set(part) & set('\\:*?"<>|\0')
        assert part.isprintable()


def test_a_second_video_and_a_taken_name_are_told_apart() -> None:
    assert named("{row_key}.mp4", ordinal=2) == "rain-2.mp4"
    assert named("{row_key}_{ordinal}.mp4", ordinal=2) == "rain_2.mp4"
    assert named("{row_key}.mp4", again=1) == "rain~2.mp4"


@given(key=st.text(min_size=300, max_size=400))
def test_a_long_name_keeps_what_tells_it_apart(key: str) -> None:
    names = {named("{row_key}.mp4", n, row_key=key) for n in range(5)}
    assert len(names) == 5


def test_names_that_some_file_system_takes_for_the_same() -> None:
    assert fold("Rain.MP4") == fold("rain.mp4")
    assert fold("\u00e9.mp4") == fold("e\u0301.mp4")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{row_ky}.mp4", "Did you mean {row_key}?"),
        ("{row_key.__class__}.mp4", "not a plain field"),
        ("{row_key[0]}.mp4", "not a plain field"),
        ("{row_key!r}.mp4", "not a plain field"),
        ("{row_key", "does not parse"),
        ("{row_key:05d}.mp4", "does not fit"),
        ("../{row_key}.mp4", "leads out"),
        ("/tmp/{row_key}.mp4", "leads out"),
        ("", "leads out"),
    ],
)
def test_a_template_that_is_none(template: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(template)
    assert said in f"{caught.value.message} {caught.value.mend}"


def test_a_specs_own_columns_are_fields_and_an_empty_one_is_empty() -> None:
    template = Template("{scene}-{row_key}.mp4", ("scene",))
    assert template.fill(VALUES | {"scene": "beach"}) == "beach-rain.mp4"
    assert template.fill(VALUES) == "-rain.mp4"
