"""Price files: both spellings, every problem with its place, no class that does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.domain.models import price_classes
from orchestrator.errors import SpecError
from orchestrator.spec import read_prices


def test_every_price_class_is_known() -> None:
    assert price_classes() == (
        "kling-v2-6/pro/10s/audio",
        "kling-v2-6/pro/10s/silent",
        "kling-v2-6/pro/5s/audio",
        "kling-v2-6/pro/5s/silent",
        "kling-v2-6/std/10s/silent",
        "kling-v2-6/std/5s/silent",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prices.yaml", "kling-v2-6/std/5s/silent: 0.0414\n"),
        ("prices.yml", "kling-v2-6/std/5s/silent: $0.0414\n"),
        ("prices.csv", "Note, USD ,price_class\nx,0.0414,kling-v2-6/std/5s/silent\n\n"),
    ],
)
def test_both_spellings(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    ((name, cost),) = read_prices(file).items()
    assert (name, cost.nanos) == ("kling-v2-6/std/5s/silent", 41_400_000)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.yaml", "kling-v2-6/std/5s/silnt: 1", "Did you mean kling-v2-6/std/5s/silent?"),
        ("p.yaml", "kling-v2-6/std/5s/silent: 0", "is not above zero"),
        ("p.yaml", "kling-v2-6/std/5s/silent: -1", "is negative"),
        ("p.yaml", "kling-v2-6/std/5s/silent: .nan", "is not a"),
        ("p.yaml", "kling-v2-6/std/5s/silent: [1]", "must be a single amount"),
        ("p.csv", "price_class,usd\nkling-v2-6/std/5s/silent\n", "is not an amount"),
        (
            "p.csv",
            "price_class,usd\n" + "kling-v2-6/std/5s/silent,1\n" * 2,
            "has two prices",
        ),
    ],
)
def test_problems_are_told_with_their_place(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SpecError) as refused:
        read_prices(file)
    (problem,) = refused.value.problems
    assert problem.line == text.rstrip().count("\n") + 1
    assert said in f"{problem.message} {problem.mend}"


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.yaml", ""), ("p.yaml", "- 1"), ("p.csv", "class;price\n"), ("p.csv", "\n")],
)
def test_what_is_no_price_file(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SpecError):
        read_prices(file)
