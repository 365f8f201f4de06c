"""From a success of one batch to another batch that takes it over, and back after a disaster."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.domain.states import State
from orchestrator.errors import NeedsPersonError, ServiceError
from orchestrator.journal import Intent, Outcome, Reused, read
from orchestrator.services import intake, planning, polling, recovery, status
from orchestrator.services.context import Context
from orchestrator.services.intake import Taken
from orchestrator.services.reusing import Choice
from orchestrator.spec import SpecRow, open_spec
from orchestrator.store import batches, lives, views
from orchestrator.store import tables as t
from orchestrator.store.engine import Store
from orchestrator.store.views import Result
from tests.support.migrated import migrated
from tests.support.shop import PROVIDER, Shop, accept

S = State
AGAIN = ("two", "default")


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Path:
    """A shop's folder in which `shop@default` has bought `a kettle 0` and `a kettle 1`."""
    shop = Shop(tmp_path_factory.mktemp("sold"), broker, accept)
    batch = shop.submit(2)
    shop.buy(shop.due(batch))
    with shop.store.write() as tx:
        tx.conn.execute(t.submissions.update().values(due_at=0))
    tokens: list[str] = []
    polling.run_once(shop.context, lambda token, *_: tokens.append(token))
    for token in tokens:
        shop.poll(token)
    assert shop.counts(batch) == {S.SUCCEEDED: 2}
    shop.store.close()
    return shop.folder


@pytest.fixture
def shop(sold: Path, tmp_path: Path, broker: str) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(sold, folder)
    made = Shop(folder, broker, accept)
    yield made
    made.store.close()


def write(shop: Shop, *prompts: str, text: str = "reuse: true\n") -> Path:
    spec = shop.folder / "two.yaml"
    spec.write_text(text + "items:\n" + "".join(f"  - {prompt}\n" for prompt in prompts))
    return spec


def context(shop: Shop) -> Context:
    return replace(shop.context, journal_dir=shop.journal)


def take(shop: Shop, spec: Path) -> Taken:
    return intake.take_in(
        context(shop),
        spec,
        options=lambda read: intake.Options(*AGAIN, reuse=read.header.reuse),
        confirm=lambda _proposal: True,
    )


def results(store: Store) -> list[Result]:
    with store.read() as tx:
        found = batches.find(tx, *AGAIN)
        assert found is not None
        return list(views.results(tx, found.id))


def told(rows: list[Result]) -> list[tuple[object, ...]]:
    return [
        (row.row_key, row.state, row.task_id, row.video_urls, row.actual_nanos, row.reused_from)
        for row in rows
    ]


def test_a_plan_and_a_submit_agree_on_what_is_reused(shop: Shop) -> None:
    spec = write(shop, "a kettle 1", "a pot", "a kettle 0", "a kettle 0")
    plan = planning.plan(context(shop), spec, name=None, label=None, budget_nanos=None)
    assert (plan.new, plan.reused, sum(n for n, _ in plan.classes.values())) == (4, 2, 2)
    taken = take(shop, spec)
    assert (taken.difference.reused, taken.difference.to_send) == (2, 2)
    states = [(row.state, row.reused_from) for row in results(shop.store)]
    assert states == [
        (S.SUCCEEDED, "shop@default row r1"),
        (S.PENDING, None),
        (S.SUCCEEDED, "shop@default row r0"),
        (S.PENDING, None),
    ], "the second take of a kettle is a video of its own"
    assert len(shop.due(taken.batch)) == 2
    rows = [row for row in open_spec(spec).rows() if isinstance(row, SpecRow)]
    choice = Choice()
    with shop.store.read() as tx:
        found = [len(choice.chosen(tx, 0, PROVIDER, rows[:n])) for n in (1, 4, 4)]
    assert found == [1, 1, 0], "what one group of rows takes is not there for the next"
    plain = write(shop, "a kettle 1", text="")
    plan = planning.plan(context(shop), plain, name="three", label=None, budget_nanos=None)
    assert (plan.new, plan.reused) == (1, 0)


def test_a_row_that_is_known_uses_nothing_up(shop: Shop) -> None:
    bought = take(shop, write(shop, "a kettle 0", text=""))
    assert bought.difference.to_send == 1
    spec = write(shop, "a kettle 0", "a kettle 0")
    plan = planning.plan(context(shop), spec, name=None, label=None, budget_nanos=None)
    taken = take(shop, spec)
    assert plan.reused == taken.difference.reused == 1
    assert [row.state for row in results(shop.store)] == [S.PENDING, S.SUCCEEDED]


def test_reused_rows_cost_nothing_and_say_so(shop: Shop) -> None:
    taken = take(shop, write(shop, "a kettle 0", "a kettle 1"))
    with shop.store.read() as tx:
        now = status.read(tx, shop.context, taken.batch)
        assert lives.page_of_batch(tx, taken.batch.id, 0, 9) == [], "nothing to reconcile"
    assert now.reused == 2
    assert now.counts_line() == "2 succeeded; 2 reused"
    assert now.cost_nanos == 0
    kinds = [type(one) for one in read(shop.journal)]
    assert kinds.count(Reused) == 2
    assert kinds.count(Intent) == kinds.count(Outcome) == 2, "those of the first batch"


@pytest.mark.parametrize("bought_too", [False, True])
def test_a_lost_database_comes_back_with_what_was_reused(
    shop: Shop, tmp_path: Path, *, bought_too: bool
) -> None:
    spec = write(shop, "a kettle 0", "a pot")
    taken = take(shop, spec)
    before = told(results(shop.store))
    posts = len(shop.posts)
    if bought_too:
        shop.buy(shop.due(taken.batch))
        posts += 1
    empty = Store(migrated(tmp_path / "empty.db"))
    lost = replace(context(shop), store=empty)
    with pytest.raises(NeedsPersonError, match="the journal knows"):
        intake.take_in(
            lost,
            spec,
            options=lambda _read: intake.Options(*AGAIN),
            confirm=lambda _proposal: True,
        )
    for _ in range(2):
        recovery.recover(lost, spec, name=None, label=None, journals=[], first_sent_after=None)
        assert told(results(empty))[0] == before[0]
    assert results(empty)[1].state is (S.QUEUED if bought_too else S.PENDING)
    assert len(shop.posts) == posts
    empty.close()


def test_what_is_gone_is_bought_anew(shop: Shop) -> None:
    """A URL that says it has ended, or that was found dead, is as good as none without its file."""

    def state() -> str | None:
        plan = planning.plan(
            context(shop), write(shop, "a kettle 0"), name="plan", label=None, budget_nanos=None
        )
        return "reused" if plan.reused else "bought"

    with shop.store.write() as tx:
        tx.conn.execute(t.outputs.update().values(url="https://x/1.mp4?Expires=1000000000"))
    assert state() == "bought"
    saved = shop.folder / "kettle.mp4"
    with shop.store.write() as tx:
        for submission_id in tx.conn.execute(t.submissions.select()).scalars().all():
            tx.conn.execute(
                t.downloads.insert().values(
                    target=str(shop.folder), submission_id=submission_id, ordinal=0, batch_id=1,
                    path="kettle.mp4", folded=f"k{submission_id}", state="saved", changed_at=1,
                )
            )  # fmt: skip
    assert state() == "bought", "the file was deleted"
    saved.touch()
    assert state() == "reused"
    take(shop, write(shop, "a kettle 0"))
    assert results(shop.store)[0].video_path == str(saved)
    saved.unlink()
    with shop.store.write() as tx:
        tx.conn.execute(t.outputs.update().values(url="https://x/1.mp4"))
    assert state() == "reused"
    with shop.store.write() as tx:
        tx.conn.execute(t.items.update().values(error_code="output_lost"))
    assert state() == "bought"


def test_a_reading_that_cannot_be_journalled_reuses_nothing(shop: Shop, tmp_path: Path) -> None:
    spec = write(shop, "a kettle 0")
    nowhere = tmp_path / "journal"
    nowhere.symlink_to(tmp_path / "absent")
    kept, shop.journal = shop.journal, nowhere
    with pytest.raises(ServiceError):
        take(shop, spec)
    with shop.store.read() as tx:
        assert batches.find(tx, *AGAIN) is None
        assert len(tx.conn.execute(t.submissions.select()).all()) == 2
    shop.journal = kept
    assert take(shop, spec).difference.reused == 1
