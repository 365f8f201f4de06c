"""Submits that end before they are published, or beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from orchestrator.domain.canary import UNTOLD, Canary, Pace
from orchestrator.domain.states import State
from orchestrator.errors import OrchestratorError
from orchestrator.services import intake, planning, sweeping
from orchestrator.services.intake import Declined, Proposal, Taken
from orchestrator.store import batches, views
from orchestrator.store import intake as store_intake
from orchestrator.store import tables as t
from orchestrator.store.intake import Staged
from tests.support.shop import Shop, accept


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Iterator[Shop]:
    made = Shop(tmp_path, broker, accept)
    yield made
    made.store.close()


def yes(_proposal: Proposal) -> bool:
    return True


def submit(
    shop: Shop, *rows: str, confirm: Callable[[Proposal], bool] = yes, pace: Pace = UNTOLD
) -> Taken:
    spec = shop.folder / "spec.csv"
    spec.write_text("\n".join(("id,prompt", *rows)))
    options = intake.Options("a", "b", keep_removed=True, pace=pace)
    return intake.take_in(shop.context, spec, options=lambda _: options, confirm=confirm)


def prompts(shop: Shop, taken: Taken) -> list[tuple[str, str]]:
    """(prompt, state) of the batch's rows in their order."""
    with shop.store.read() as tx:
        rows = list(views.results(tx, taken.batch.id))
    return [(row.source["prompt"], row.state) for row in rows]


def test_an_edit_after_a_declined_submit_is_an_edit(shop: Shop) -> None:
    submit(shop, "a,one", "b,two")
    with pytest.raises(Declined):
        submit(shop, "a,one", "b,two", "c,three", confirm=lambda _: False)
    taken = submit(shop, "a,one", "b,another")
    found = taken.difference
    assert (found.added, found.known, found.changed, found.removed) == (0, 1, 1, 0)
    assert prompts(shop, taken) == [
        ("one", State.PENDING),
        ("two", State.WITHDRAWN),
        ("another", State.PENDING),
    ]


def test_a_submit_that_was_overtaken_while_a_person_thought_records_nothing(shop: Shop) -> None:
    overtaking: list[Taken] = []

    def think_long(_proposal: Proposal) -> bool:
        with shop.store.write() as tx:
            tx.conn.execute(update(t.batches).values(intake_until=0))
        overtaking.append(submit(shop, "x,other"))
        return True

    with pytest.raises(OrchestratorError, match="another one went ahead"):
        submit(shop, "a,one", "b,two", confirm=think_long)
    assert prompts(shop, overtaking[0]) == [("other", State.PENDING)]


def test_a_submit_that_was_overtaken_leaves_the_other_in_peace(shop: Shop) -> None:
    """The first one gives up while the second is not done yet."""
    first = submit(shop, "a,one")

    def overtaken(_proposal: Proposal) -> bool:
        with shop.store.write() as tx:
            tx.conn.execute(
                update(t.batches).values(intake_token="other", intake_until=tx.now + 60_000)
            )
            begun.append(store_intake.begin(tx, first.batch.id, source="b.csv", actor="other"))
        return False

    begun: list[int] = []
    with pytest.raises(Declined):
        submit(shop, "a,one", "b,two", confirm=overtaken)
    with shop.store.write() as tx:
        assert store_intake.holds(tx, first.batch.id, "other", begun[0])


def killed(shop: Shop, name: str, rows: int) -> int:
    """A submit that staged so many rows and died; the batch's id."""
    with shop.store.write() as tx:
        batch = batches.find(tx, name, "b") or batches.create(
            tx, name=name, label="b", namespace="", key_version=1, provider="p", budget_nanos=None
        )
        assert batch is not None
        assert store_intake.lock(tx, batch.id, "dead")
        revision = store_intake.begin(tx, batch.id, source="big.csv", actor="dead")
        staged = [Staged(f"r{n}", f"digest {n}", "m", "c", "{}", "{}") for n in range(rows)]
        store_intake.stage(tx, batch.id, revision, staged, after_position=9, compare=True)
        return batch.id


def staged_rows(shop: Shop) -> int:
    with shop.store.read() as tx:
        query = select(func.count()).select_from(t.items).where(t.items.c.row_key.like("r%"))
        return int(tx.conn.execute(query).scalar_one())


def test_what_killed_submits_left_is_dropped_a_day_later(shop: Shop) -> None:
    taken = submit(shop, "a,one")
    killed(shop, "a", store_intake.GROUP + 500)
    never = killed(shop, "never", 3)
    assert sweeping.run_once(shop.context) == 0
    with shop.store.write() as tx:
        assert store_intake.lock(tx, never, "dead"), "so long its rows wait for their submit"
        day_ago = tx.now - sweeping.PATIENCE_MS - 1
        tx.conn.execute(update(t.batches).values(intake_until=day_ago))
    assert staged_rows(shop) == store_intake.GROUP + 503
    assert sweeping.run_once(shop.context) == store_intake.GROUP + 503
    assert staged_rows(shop) == 0
    with shop.store.read() as tx:
        assert batches.find(tx, "never", "b") is None
    assert prompts(shop, submit(shop, "a,one", "b,two")) == [("one", "pending"), ("two", "pending")]
    assert prompts(shop, taken)
    assert sweeping.run_once(shop.context) == 0


def planned(shop: Shop, *rows: str) -> tuple[planning.Plan, Proposal]:
    """What plan says of these rows, and what a submit would do; nothing is recorded."""
    proposals: list[Proposal] = []
    with pytest.raises(Declined):
        submit(shop, *rows, confirm=lambda proposal: bool(proposals.append(proposal)))
    plan = planning.plan(
        shop.context, shop.folder / "spec.csv", name="a", label="b", budget_nanos=None
    )
    return plan, proposals[0]


def sell(shop: Shop, taken: Taken) -> None:
    shop.buy(shop.due(taken.batch))


def test_a_plan_and_a_submit_count_alike(shop: Shop) -> None:
    """An edit, an edit back, a row that is gone, one that was sent and edited, a new one."""
    sell(shop, submit(shop, "sent,one", "old,two"))
    submit(shop, "sent,one", "old,two", "waits,three", "back,four", "gone,five")
    submit(shop, "sent,one", "old,two", "waits,three", "back,another", "gone,five")
    rows = ("sent,edited", "old,two", "waits,edited", "back,four", "new,six")
    plan, proposal = planned(shop, *rows)
    found = proposal.difference
    assert (found.added, found.known, found.changed, found.removed) == (1, 2, 2, 1)
    assert (plan.new, plan.known, plan.changed, plan.removed) == (1, 2, 2, 1)
    sent = {name: number for name, (number, _) in plan.classes.items()}
    assert sent == found.price_classes == {"kling-v2-6/std/5s/silent": 3}
    assert [note.split(";")[0] for note in plan.remarks] == [
        "1 of the removed rows still wait to be sent",
        "1 of the changed rows were sent before the change and are not bought again",
    ]


def test_a_plan_tells_what_it_takes_for_another_batch(shop: Shop) -> None:
    submit(shop, "a,one")
    spec = shop.folder / "spec.csv"
    spec.write_text("id,prompt\nx,two\n")
    plan = planning.plan(shop.context, spec, name="a", label="b", budget_nanos=None)
    assert "--append" in plan.remarks[0]


def test_a_plan_tells_what_the_limit_lets_go(shop: Shop) -> None:
    spec = shop.folder / "spec.yaml"
    spec.write_text("name: a\nlimit: 2\nprompts: [one, two, three]\n")
    plan = planning.plan(shop.context, spec, name="a", label="b", budget_nanos=None)
    assert plan.remarks == (
        "the limit lets 2 of the 3 rows go; the others wait for a higher --limit",
    )
    taken = submit(shop, "a,one", pace=Pace(limit=1))
    sell(shop, taken)
    spec = shop.folder / "spec.csv"
    spec.write_text("id,prompt\na,one\nb,two\n")
    plan = planning.plan(shop.context, spec, name="a", label="b", budget_nanos=None)
    assert plan.remarks == (
        "the limit lets 0 of the 1 rows go; the others wait for a higher --limit",
    )


def test_a_canary_under_way_takes_other_bounds(shop: Shop) -> None:
    rows = [f"r{n},take {n}" for n in range(4)]
    submit(shop, *rows, pace=Pace(canary=Canary(2)))
    taken = submit(shop, *rows, pace=Pace(canary=Canary(3, failures=0)))
    assert taken.batch.canary == Canary(3, failures=0)
    assert len(shop.due(taken.batch)) == 4
    shop.buy(shop.due(taken.batch))
    assert len(shop.posts) == 3


def test_history_tells_of_every_version_of_a_row(shop: Shop) -> None:
    submit(shop, "a,one", "b,two")
    submit(shop, "a,another", "b,two")
    taken = submit(shop, "a,one", "b,two")
    with shop.store.read() as tx:
        first, second = (
            [(line.event, line.detail) for line in views.history_of(tx, row.item_id)]
            for row in views.result_of(tx, taken.batch.id, "a")
        )
    source = ("submitted", f"from {shop.folder / 'spec.csv'}")
    stepped_back = ("withdraw", "another version took its place")
    assert first == [source, stepped_back, ("revive", "the spec has it again")]
    assert second == [source, stepped_back]
