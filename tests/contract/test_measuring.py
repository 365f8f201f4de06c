"""What is scraped is what the database holds, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from orchestrator.domain.account import Accounts
from orchestrator.domain.lateness import Lateness, notice
from orchestrator.domain.learned_cap import Refusal
from orchestrator.domain.outcome import GateReason, TaskStatus
from orchestrator.domain.sketch import Span
from orchestrator.domain.states import State
from orchestrator.services import measuring
from orchestrator.services.context import Context, Timing
from orchestrator.services.measuring import Measurer
from orchestrator.store import batches, gates, outbox, refusals, sketches, workers
from orchestrator.store import tables as t
from orchestrator.store.engine import Store
from orchestrator.telemetry.exposition import render
from orchestrator.telemetry.queues import Waiting
from tests.support.stores import LOST, POLICY, PROVIDER, Shelf, accepted

Scrape = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
QUEUES = Waiting({"submit": 3, "poll": 0, "ticks": 1}, unacknowledged=2, used=10, limit=0)


def measurer(store: Store, queues: Waiting | None = QUEUES) -> Measurer:
    context = Context(
        store=store,
        provider=PROVIDER,
        accounts=Accounts(),
        namespace="",
        actor="me",
        policy=POLICY,
        timing=Timing(request=1_000, chunk_size=50),
        presence=Path("nowhere"),
    )
    return Measurer(context, lambda: queues)


def scrape(of: Measurer) -> Scrape:
    text = render(of.families()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Scrape, name: str, **labels: str) -> float | None:
    return found.get((f"orchestrator_{name}", frozenset(labels.items())))


def test_rows_money_and_the_unknown_are_told(shelf: Shelf) -> None:
    shelf.publish("a", "b", "c", "d")
    with shelf.store.write() as tx:
        batches.set_budget(tx, shelf.batch_id, 1_000_000_000, actor="me", detail="1")
    held = shelf.claim("a", "b", "c")
    shelf.answer(held["a"], accepted(TaskStatus.SUCCEEDED, actual="0.0414", videos=["http://v/1"]))
    shelf.answer(held["b"], LOST)
    shelf.answer(held["c"], accepted(TaskStatus.QUEUED, task_id="task_c"))
    shelf.clock.now += 90_000
    found = scrape(measurer(shelf.store))
    for state, number in (("pending", 1), ("unknown", 1), ("queued", 1), ("succeeded", 1)):
        assert value(found, "items", batch="b@default", state=state) == number
    assert value(found, "items", batch="other", state="succeeded") == 0
    assert value(found, "spend_usd", batch="b@default", kind="actual") == 0.0414
    assert value(found, "spend_usd", batch="b@default", kind="held") == 0.0828
    assert value(found, "budget_left_usd", batch="b@default") == 1 - 0.0414 - 0.0828
    assert value(found, "unknown") == 1
    assert value(found, "unknown_held_usd") == 0.0414
    assert value(found, "in_flight", account="acc", state="queued") == 1
    assert value(found, "in_flight_oldest_seconds", account="acc", state="queued") == 90
    assert value(found, "polls_overdue") == 1
    assert 0 < (value(found, "polls_overdue_oldest_seconds") or 0) <= 90
    assert value(found, "rows_to_send") == 2
    assert value(found, "batch_state", batch="b@default", state="running") == 1
    assert value(found, "database_up") == value(found, "broker_up") == 1
    assert value(found, "queue_messages", queue="submit") == 3


def test_who_needs_a_person_and_what_is_closed_is_told(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    shelf.claim("a", "b")
    with shelf.store.write() as tx:
        tx.conn.execute(
            t.submissions.update().values(state=State.UNKNOWN, needs_person="key_expired")
        )
        tx.conn.execute(t.items.update().values(state=State.UNKNOWN))
        for account, until in (("acc", None), ("other", tx.now + 60_000)):
            gates.close(
                tx,
                provider=PROVIDER,
                account=account,
                model="",
                reason=GateReason.UNAUTHORIZED,
                message="no",
                mend="yes",
                until=until,
                probe_at=None,
            )
        refusals.put(tx, PROVIDER, "acc", "m", Refusal(tx.now, 20, 9_000))
        refusals.put(tx, PROVIDER, "acc", "n", Refusal(tx.now, 20))
        workers.seen(tx, "host:1", processes=3, submits=True)
        workers.heard(tx, ["one", "two"])
        outbox.add(tx, event_id="e", batch_id=None, kind="x", payload="{}")
    shelf.clock.now += 5_000
    found = scrape(measurer(shelf.store, queues=None))
    assert value(found, "needs_person", batch="b@default", code="key_expired") == 2
    assert value(found, "batch_state", batch="b@default", state="blocked") == 1
    labels = {"reason": "unauthorized", "account": "acc", "model": "", "stands": "yes"}
    assert value(found, "gates_closed", **labels) == 1
    assert value(found, "gate_closed_seconds", **labels) == 5
    assert value(found, "gates_closed", **labels | {"account": "other", "stands": "no"}) == 1
    assert value(found, "in_flight_cap", account="acc", model="m") == 20
    assert value(found, "in_flight_cap", account="acc", model="n") is None
    assert value(found, "worker_processes", buys="yes") == 3
    assert value(found, "worker_processes", buys="no") == 0
    assert value(found, "beats") == 2
    assert value(found, "events_undelivered_oldest_seconds") == 5
    assert value(found, "broker_up") == 0
    assert value(found, "queue_messages", queue="submit") is None
    shelf.clock.now += 60_000
    later = scrape(measurer(shelf.store))
    assert value(later, "gates_closed", **labels | {"account": "other", "stands": "no"}) is None
    assert value(later, "in_flight_cap", account="acc", model="m") is None
    assert value(later, "worker_processes", buys="yes") == value(later, "beats") == 0


def test_urls_that_die_soon_are_told_until_they_are_saved(shelf: Shelf) -> None:
    shelf.publish("a", "b")
    held = shelf.claim("a", "b")
    seconds = shelf.clock.now // 1000 + 600
    signed = f"https://v/1.mp4?Expires={seconds}&Signature=x"
    done = accepted(TaskStatus.SUCCEEDED, actual="0.1", videos=[signed, "https://v/2.mp4"])
    stored = held["a"]
    shelf.answer(stored, done)
    found = scrape(measurer(shelf.store))
    assert value(found, "urls_unsaved") == 2
    assert value(found, "url_soonest_expiry_timestamp_seconds", told="yes") == seconds
    assumed = value(found, "url_soonest_expiry_timestamp_seconds", told="no") or 0
    assert assumed == shelf.clock.now / 1000 + 3600
    shelf.clock.now += 700_000
    found = scrape(measurer(shelf.store))
    assert value(found, "urls_expired", told="yes") == 1
    assert value(found, "url_soonest_expiry_timestamp_seconds", told="yes") is None
    with shelf.store.write() as tx:
        for ordinal in (0, 1):
            tx.conn.execute(
                t.downloads.insert().values(
                    target="here", submission_id=stored.id, ordinal=ordinal, state="saved",
                    batch_id=shelf.batch_id, path=str(ordinal), folded=str(ordinal), changed_at=1,
                )
            )  # fmt: skip
    found = scrape(measurer(shelf.store))
    assert value(found, "urls_unsaved") == value(found, "urls_expired", told="yes") == 0


def test_labels_stay_bounded_and_the_rest_is_summed(shelf: Shelf) -> None:
    for number in range(measuring.OPEN_SHOWN + 5):
        Shelf(shelf.store, shelf.clock, name=f"n{number}").publish("a")
    looking = measurer(shelf.store)
    found = scrape(looking)
    titles = {dict(labels)["batch"] for name, labels in found if name == "orchestrator_items"}
    assert len(titles) == measuring.OPEN_SHOWN + 1
    assert value(found, "items", batch="other", state="pending") == 5
    with shelf.store.write() as tx:
        tx.conn.execute(t.batches.update().values(finished_at=tx.now, actual_nanos=2_000_000_000))
    found = scrape(looking)
    titles = {dict(labels)["batch"] for name, labels in found if name == "orchestrator_spend_usd"}
    assert len(titles) == measuring.FINISHED_SHOWN + 1
    # The shelf's own batch was never published, but what it cost counts.
    others = measuring.OPEN_SHOWN + 5 + 1 - measuring.FINISHED_SHOWN
    assert value(found, "spend_usd", batch="other", kind="actual") == 2 * others
    assert value(found, "batches_open") == 0


def test_detection_lag_is_a_histogram_that_only_grows(shelf: Shelf) -> None:
    late = notice(Lateness(), [Span(0, 1_500), Span(0, 9_000)]).to_json()
    with shelf.store.write() as tx:
        sketches.put(
            tx, PROVIDER, "std", version=0, sketch_json="[]", plan_json="null", folded=[],
            late_json=late,
        )  # fmt: skip
        sketches.put(tx, PROVIDER, "old", version=0, sketch_json="[]", plan_json="null", folded=[])
    found = scrape(measurer(shelf.store))
    bucket = "detection_lag_seconds_bucket"
    assert value(found, bucket, price_class="std", le="1.0") == 0
    assert value(found, bucket, price_class="std", le="2.0") == 1
    assert value(found, bucket, price_class="std", le="+Inf") == 2
    assert value(found, "detection_lag_seconds_sum", price_class="std") == 10.5
    assert value(found, bucket, price_class="old", le="+Inf") is None


def test_a_database_that_is_away_is_told_of(tmp_path: Path) -> None:
    found = scrape(measurer(Store(f"sqlite:///{tmp_path / 'no' / 'where.db'}")))
    assert value(found, "database_up") == 0
    assert value(found, "broker_up") == 1
    assert value(found, "batches_open") is None
