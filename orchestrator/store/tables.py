"""The tables. Times are integer milliseconds UTC, money is integer nano-dollars.

Tables are for persistence only: nothing here validates. What a state may become is decided in
`domain`; how a row is changed, in this package's named operations.
"""

from __future__ import annotations

import re
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from orchestrator.domain.account import DEFAULT

SCHEMA = "0024"
"""The migration that these tables are at; a test holds it against the scripts."""

# SQLite counts up only an INTEGER key, PostgreSQL wants 64 bits.
Big = BigInteger().with_variant(Integer, "sqlite")

CLAIMABLE = "state IN ('pending', 'unknown')"
# Told twice, so that the index of what is claimable serves it.
PENDING = f"{CLAIMABLE} AND state = 'pending'"
UNKNOWN = "state = 'unknown'"
# An OR where there are more than two: of an IN of them SQLite makes a table for each row it writes.
# What is always so is added: else it would take such an index for a query of one state alone.
# PostgreSQL leaves that away, and takes an index of the IN for the OR.
IN_FLIGHT = (
    "(state = 'submitting' OR state = 'unknown' OR state = 'queued' OR state = 'processing') "
    "AND 'any' = 'any'"
)
ENDED_BADLY = (
    "(state = 'failed' OR state = 'cancelled' OR state = 'rejected' OR state = 'invalid') "
    "AND 'any' = 'any'"
)
POLLED = "state IN ('queued', 'processing')"
LEASED = "state = 'submitting'"
SUCCEEDED = "state = 'succeeded'"
REUSED = "reused_from IS NOT NULL"
EDITED = "seen_source IS NOT NULL"
OPEN_RUN = "state IN ('waiting', 'made')"


def said_of(table: str, condition: str) -> ColumnElement[bool]:
    """One of these conditions for a query; a partial index is found by the same words alone."""
    return _worded(condition, rf"{table}.\1")


def beside(table: str, condition: str) -> ColumnElement[bool]:
    """The same for rows that something else finds: no index serves these words.

    PostgreSQL believes an index to be nearly empty that was when it last looked, and reads all of
    it for a few rows whose ids are given.
    """
    return _worded(condition, rf"({table}.\1 || '')")


def _worded(condition: str, column: str) -> ColumnElement[bool]:
    return literal_column(re.sub(r"\b(\w+) (=|IN|IS)", rf"{column} \2", condition))


def _partial(name: str, where: str, *columns: str) -> Index:
    return Index(name, *columns, sqlite_where=sql(where), postgresql_where=sql(where))


def _id() -> Any:
    return Field(default=None, sa_column=Column(Big, primary_key=True))


def _big(*, null: bool = False, default: int | None = None) -> Any:
    server = None if default is None else sql(str(default))
    return Field(default=default, sa_column=Column(Big, nullable=null, server_default=server))


def _ref(target: str, *, key: bool = False, index: bool = False) -> Any:
    column: Column[int] = Column(
        Big, ForeignKey(target), nullable=False, primary_key=key, index=index
    )
    return Field(sa_column=column)


def _text(*, null: bool = False) -> Any:
    return Field(default=None, sa_column=Column(Text, nullable=null))


class _Row(SQLModel):
    """Rows are read and written as tables, never validated: pydantic need not prepare for it."""

    model_config = {"defer_build": True}


class Batch(_Row, table=True):
    """One spec under one name and label: the unit of progress, cost, budget and results."""

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("name", "label"),
        _partial("batches_open", "finished_at IS NULL", "served_at"),
    )

    id: int | None = _id()
    name: str = _text()
    label: str = _text()
    namespace: str = _text()
    key_version: int = Field()
    provider: str = _text()
    # By whose key what was never sent will be, by name.
    account: str = Field(
        default=DEFAULT, sa_column=Column(Text, nullable=False, server_default=sql(f"'{DEFAULT}'"))
    )
    wanted: str = _text()
    budget_nanos: int | None = _big(null=True)
    # What the submissions' money adds up to, kept in the transactions that change it.
    held_nanos: int = _big(default=0)
    estimated_nanos: int = _big(default=0)
    actual_nanos: int = _big(default=0)
    assumed_nanos: int = _big(default=0)
    stop_code: str | None = _text(null=True)
    stop_message: str | None = _text(null=True)
    columns: str = _text()
    intake_token: str | None = _text(null=True)
    intake_until: int | None = _big(null=True)
    served_at: int = _big(default=0)
    weight: int = Field(default=1, sa_column_kwargs={"server_default": sql("1")})
    # How often a failure that the provider reports is bought anew without being asked.
    max_price_nanos: int | None = _big(null=True)
    retries: int = Field(default=0, sa_column_kwargs={"server_default": sql("0")})
    # How many rows may ever be sent, and how many were.
    row_limit: int | None = _big(null=True)
    sent_rows: int = _big(default=0)
    canary_phase: str | None = _text(null=True)
    canary_json: str | None = _text(null=True)
    # Nothing new is sent from then on.
    deadline_at: int | None = _big(null=True)
    created_at: int = _big()
    # Null while the first reading of its spec is not published: the batch is not there yet.
    published_at: int | None = _big(null=True)
    finished_at: int | None = _big(null=True)
    # Since then only what recognises its rows and adds up its money is kept.
    archived_at: int | None = _big(null=True)


class CanaryRow(_Row, table=True):
    """An item that goes before the others of its batch."""

    __tablename__ = "canaries"
    __table_args__ = (Index("canaries_by_batch", "batch_id"),)

    item_id: int = _ref("items.id", key=True)
    batch_id: int = _ref("batches.id")


class Revision(_Row, table=True):
    """One reading of a spec into a batch; its items count once it is published."""

    __tablename__ = "revisions"

    id: int | None = _id()
    batch_id: int = _ref("batches.id", index=True)
    state: str = _text()
    source: str = _text()
    rows: int = _big(default=0)
    actor: str = _text()
    created_at: int = _big()
    published_at: int | None = _big(null=True)


class Input(_Row, table=True):
    """A normalised input, stored once by digest."""

    __tablename__ = "inputs"
    __table_args__ = (
        Index("inputs_by_use", "used_at"),
        _partial("inputs_by_image", "image IS NOT NULL", "image"),
    )

    digest: str = Field(sa_column=Column(Text, primary_key=True))
    model: str = _text()
    input_json: str = _text()
    image: str | None = _text(null=True)
    """The image that `input_json` has a reference to, by its SHA-256."""
    used_at: int = _big(default=0)
    """When a row was last given with it."""


class Image(_Row, table=True):
    """An image that inputs were given, stored once by its SHA-256."""

    __tablename__ = "images"

    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Item(_Row, table=True):
    """One video to be made.

    `due_at`: not handed to a worker before. `submission_id`: the submission that speaks for the
    item, which is its first success, else that of its current generation.
    """

    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("batch_id", "row_key", "digest"),
        Index("items_by_position", "batch_id", "position"),
        Index("items_by_revision", "revision_id"),
        _partial("items_claimable", CLAIMABLE, "batch_id", "position"),
        _partial("items_unknown", UNKNOWN, "batch_id", "position"),
        _partial("items_ended_badly", ENDED_BADLY, "batch_id", "position"),
        _partial("items_succeeded", SUCCEEDED, "digest"),
        _partial("items_edited", EDITED, "batch_id"),
        # Room on the page for a row's next version: then no index has to be told where it is.
        {"postgresql_with": {"fillfactor": 50}},
    )

    id: int | None = _id()
    batch_id: int = _ref("batches.id")
    revision_id: int = _ref("revisions.id")
    seen_revision_id: int = _big()
    position: int = _big()
    row_key: str = _text()
    digest: str = _text()
    model: str = _text()
    price_class: str = _text()
    source: str = _text()
    state: str = _text()
    # What the reading under way says in place of `source`.
    seen_source: str | None = _text(null=True)
    generation: int = Field(default=0, sa_column_kwargs={"server_default": sql("0")})
    submission_id: int | None = _big(null=True)
    due_at: int = _big(default=0)
    error_code: str | None = _text(null=True)
    error_message: str | None = _text(null=True)
    updated_at: int = _big()


class ItemCount(_Row, table=True):
    """How many items of a revision are in a state; several rows of a kind add up."""

    __tablename__ = "item_counts"
    __table_args__ = (Index("item_counts_by_revision", "revision_id", "state", "price_class"),)

    id: int | None = _id()
    revision_id: int = _big()
    state: str = _text()
    price_class: str = _text()
    number: int = _big()


class Submission(_Row, table=True):
    """One purchase, or attempt at one, for an item; `domain.submission.Submission` is its life."""

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("item_id", "generation"),
        Index("submissions_by_batch", "batch_id"),
        _partial("submissions_due", POLLED, "account", "due_at"),
        _partial("submissions_leased", LEASED, "lease_until"),
        _partial("submissions_in_flight", IN_FLIGHT, "batch_id", "accepted_at"),
        _partial("submissions_in_flight_of", IN_FLIGHT, "account", "price_class"),
        _partial("submissions_unknown", UNKNOWN, "batch_id", "first_sent_at"),
        _partial("submissions_by_lease", "lease_token IS NOT NULL", "lease_token"),
        _partial("submissions_waiting", "needs_person IS NOT NULL", "batch_id"),
        _partial("submissions_ended", "finished_at IS NOT NULL", "batch_id", "finished_at"),
        _partial("submissions_reused", REUSED, "batch_id", "task_id"),
    )

    id: int | None = _id()
    batch_id: int = _ref("batches.id")
    item_id: int = _ref("items.id")
    generation: int = Field()
    idempotency_key: str = Field(sa_column=Column(Text, unique=True, nullable=False))
    account: str = _text()
    price_class: str = _text()
    # The lease: by whom, until when, under which fencing token.
    lease_token: str | None = _text(null=True)
    lease_until: int | None = _big(null=True)
    lease_owner: str | None = _text(null=True)
    # The life, column for field.
    state: str = _text()
    tries: int = Field(default=0)
    conflicts: int = Field(default=0)
    lapses: int = Field(default=0, sa_column_kwargs={"server_default": sql("0")})
    gated_at: int | None = _big(null=True)
    gatings: int = Field(default=0, sa_column_kwargs={"server_default": sql("0")})
    polls: int = Field(default=0)
    unresolved: bool = Field(default=False)
    first_sent_at: int | None = _big(null=True)
    accepted_at: int | None = _big(null=True)
    seen_at: int | None = _big(null=True)
    due_at: int = _big(default=0)
    missing_since: int | None = _big(null=True)
    finished_at: int | None = _big(null=True)
    hold_nanos: int = _big(default=0)
    task_id: str | None = _text(null=True)
    request_id: str | None = _text(null=True)
    raw_status: str | None = _text(null=True)
    estimate_nanos: int | None = _big(null=True)
    estimate_text: str | None = _text(null=True)
    actual_nanos: int | None = _big(null=True)
    actual_text: str | None = _text(null=True)
    assumed_nanos: int | None = _big(null=True)
    needs_person: str | None = _text(null=True)
    error_code: str | None = _text(null=True)
    error_message: str | None = _text(null=True)
    error_text: str | None = _text(null=True)
    reused_from: str | None = _text(null=True)
    # The submission whose result was taken over, where this database has it.
    reused_source: int | None = _big(null=True)
    events_json: str | None = _text(null=True)


class Output(_Row, table=True):
    """One URL of a submission's videos, in the provider's order."""

    __tablename__ = "outputs"
    __table_args__ = (Index("outputs_by_seen", "seen_at", "submission_id", "ordinal"),)

    submission_id: int = _ref("submissions.id", key=True)
    ordinal: int = Field(primary_key=True)
    url: str = _text()
    seen_at: int = _big()


class Download(_Row, table=True):
    """A video's place in one target; `folded` keeps apart what some file system takes for one."""

    __tablename__ = "downloads"
    __table_args__ = (
        UniqueConstraint("target", "folded"),
        Index("downloads_by_batch", "batch_id", "target"),
        Index("downloads_by_submission", "submission_id"),
    )

    target: str = Field(sa_column=Column(Text, primary_key=True))
    submission_id: int = _ref("submissions.id", key=True)
    ordinal: int = Field(primary_key=True)
    batch_id: int = _ref("batches.id")
    path: str = _text()
    folded: str = _text()
    state: str = _text()
    size: int | None = _big(null=True)
    sha256: str | None = _text(null=True)
    changed_at: int = _big()


class Gate(_Row, table=True):
    """A shared "do not send until…"; `until` null waits for a person, a probe or a new setting."""

    __tablename__ = "gates"
    __table_args__ = (
        Index(
            "gates_closed",
            "provider",
            "account",
            "model",
            unique=True,
            sqlite_where=sql("opened_at IS NULL"),
            postgresql_where=sql("opened_at IS NULL"),
        ),
    )

    id: int | None = _id()
    provider: str = _text()
    account: str = _text()
    model: str = _text()
    reason: str = _text()
    message: str = _text()
    mend: str = _text()
    closings: int = Field(default=1)
    closed_at: int = _big()
    until: int | None = _big(null=True)
    probe_at: int | None = _big(null=True)
    opened_at: int | None = _big(null=True)


class Account(_Row, table=True):
    """What is remembered of an API key at a provider: when it last bought something."""

    __tablename__ = "accounts"

    provider: str = Field(sa_column=Column(Text, primary_key=True))
    account: str = Field(sa_column=Column(Text, primary_key=True))
    accepted_at: int | None = _big(null=True)


class Refusal(_Row, table=True):
    """What was in flight of an account's model when the provider last refused more.

    `domain.learned_cap.Refusal` says what it means.
    """

    __tablename__ = "refusals"

    provider: str = Field(sa_column=Column(Text, primary_key=True))
    account: str = Field(sa_column=Column(Text, primary_key=True))
    model: str = Field(sa_column=Column(Text, primary_key=True))
    at: int = _big()
    number: int = _big()
    hold: int = _big()


class Price(_Row, table=True):
    """The price book: what the provider last asked for a class of inputs."""

    __tablename__ = "prices"

    provider: str = Field(sa_column=Column(Text, primary_key=True))
    price_class: str = Field(sa_column=Column(Text, primary_key=True))
    nanos: int = _big()
    text: str = _text()
    learned_at: int = _big()


class ListedPrice(_Row, table=True):
    """What a price file says of a class: counts until the provider names its own price."""

    __tablename__ = "listed_prices"

    provider: str = Field(sa_column=Column(Text, primary_key=True))
    price_class: str = Field(sa_column=Column(Text, primary_key=True))
    nanos: int = _big()
    text: str = _text()
    source: str = _text()
    listed_at: int = _big()


class RunTime(_Row, table=True):
    """How long a task ran, as its end was recorded: waits to be folded into its class's sketch."""

    __tablename__ = "run_times"
    __table_args__ = (Index("run_times_by_provider", "provider", "id"),)

    id: int | None = _id()
    provider: str = _text()
    price_class: str = _text()
    low: int = _big()
    high: int = _big()


class SketchRow(_Row, table=True):
    """What is known of a price class's run times, and when its tasks are asked about."""

    __tablename__ = "sketches"

    provider: str = Field(sa_column=Column(Text, primary_key=True))
    price_class: str = Field(sa_column=Column(Text, primary_key=True))
    version: int = _big(default=0)
    sketch_json: str = _text()
    plan_json: str = _text()
    # How late its tasks' ends were noticed.
    late_json: str = Field(sa_column=Column(Text, nullable=False, server_default=sql("'null'")))
    folded_at: int = _big()


class History(_Row, table=True):
    """What happened, appended and never changed."""

    __tablename__ = "history"
    __table_args__ = (Index("history_by_item", "item_id"), Index("history_by_batch", "batch_id"))

    id: int | None = _id()
    at: int = _big()
    batch_id: int = _big()
    item_id: int | None = _big(null=True)
    submission_id: int | None = _big(null=True)
    actor: str = _text()
    event: str = _text()
    state: str | None = _text(null=True)
    detail: str | None = _text(null=True)


class Chunk(_Row, table=True):
    """A message that no worker has started yet; forgotten when it expires."""

    __tablename__ = "chunks"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    kind: str = _text()
    batch_id: int | None = _big(null=True)
    account: str | None = _text(null=True)
    rows: int = _big(default=0)
    expires_at: int = _big()


class Worker(_Row, table=True):
    """A worker's sign of life."""

    __tablename__ = "workers"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    processes: int = Field()
    submits: bool = Field()
    seen_at: int = _big()
    about: str | None = _text(null=True)
    """What it says of itself and its machine, as JSON; nothing of an older release."""


class Beat(_Row, table=True):
    """A beat whose ticks a worker has heard."""

    __tablename__ = "beats"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    seen_at: int = _big()


class Journal(_Row, table=True):
    """A journal file that may hold what this database knows, registered before it is written."""

    __tablename__ = "journals"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    host: str = _text()
    opened_at: int = _big()
    # The epoch in which this database learned all that it says; null before the first.
    epoch: str | None = _text(null=True)
    # Nobody writes to it any more, and this database knows all that is in it.
    complete_at: int | None = _big(null=True)


class Lineage(_Row, table=True):
    """One row: which server this database is on, and whether it went back and has to catch up.

    `epoch` changes whenever it is seen to have gone back; nothing is sent while `closed_at` is set.
    """

    __tablename__ = "lineage"

    id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    epoch: str = _text()
    system: str = _text()
    timeline: int | None = _big(null=True)
    noticed_at: int = _big()
    closed_at: int | None = _big(null=True)
    reason: str | None = _text(null=True)


class SchemaFloor(_Row, table=True):
    """One row: the oldest revision whose programs may still work here; migrations that are not
    additive raise it."""

    __tablename__ = "schema_floor"

    id: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    revision: str = _text()


class LostBatch(_Row, table=True):
    """A batch that a host's journal knows purchases of and this database does not know."""

    __tablename__ = "lost_batches"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    label: str = Field(sa_column=Column(Text, primary_key=True))
    host: str = Field(sa_column=Column(Text, primary_key=True))
    purchases: int = _big()
    noticed_at: int = _big()


class Outbox(_Row, table=True):
    """Something to tell the outside, once; written in the transaction that made it true."""

    __tablename__ = "outbox"

    id: int | None = _id()
    event_id: str = Field(sa_column=Column(Text, unique=True, nullable=False))
    batch_id: int | None = _big(null=True)
    kind: str = _text()
    payload: str = _text()
    created_at: int = _big()
    tries: int = Field(default=0)
    due_at: int = _big(default=0)
    delivered_at: int | None = _big(null=True)


class SpecFile(_Row, table=True):
    """What a spec said when a run was won; kept once, whatever the number of runs."""

    __tablename__ = "spec_files"

    digest: str = Field(sa_column=Column(Text, primary_key=True))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class Schedule(_Row, table=True):
    """When to make a batch of a spec by itself. Spans of time in milliseconds."""

    __tablename__ = "schedules"

    id: int | None = _id()
    name: str = Field(sa_column=Column(Text, unique=True, nullable=False))
    spec: str = _text()
    batch_name: str = Field(sa_column=Column(Text, unique=True, nullable=False))
    cron: str = _text()
    zone: str = _text()
    budget_nanos: int | None = _big(null=True)
    overlap: str = _text()
    catch_up: str = _text()
    catch_up_window: int = _big()
    catch_up_max: int = Field()
    pause_after: int | None = Field(default=None)
    paused_at: int | None = _big(null=True)
    paused_why: str | None = _text(null=True)
    failures: int = Field(default=0)
    missed: int = Field(default=0)
    missed_at: int | None = _big(null=True)
    last_at: int = _big()
    next_at: int | None = _big(null=True)
    created_at: int = _big()


class Occurrence(_Row, table=True):
    """One run of a schedule; it outlives the schedule, so that no minute is bought twice."""

    __tablename__ = "occurrences"
    __table_args__ = (
        UniqueConstraint("batch_name", "label"),
        _partial("occurrences_open", OPEN_RUN, "nominal_at"),
        Index("occurrences_of_schedule", "schedule", "nominal_at"),
    )

    id: int | None = _id()
    schedule: str = _text()
    batch_name: str = _text()
    label: str = _text()
    nominal_at: int = _big()
    kind: str = _text()
    queued: bool = Field()
    state: str = _text()
    spec: str = _text()
    spec_digest: str | None = _text(null=True)
    budget_nanos: int | None = _big(null=True)
    batch_id: int | None = _big(null=True)
    error_code: str | None = _text(null=True)
    error_message: str | None = _text(null=True)
    created_at: int = _big()
    ended_at: int | None = _big(null=True)


def _table(model: type[SQLModel]) -> Table:
    return cast(Table, model.__table__)  # type: ignore[attr-defined]


METADATA: MetaData = SQLModel.metadata
batches = _table(Batch)
revisions = _table(Revision)
inputs = _table(Input)
images = _table(Image)
items = _table(Item)
submissions = _table(Submission)
outputs = _table(Output)
downloads = _table(Download)
gates = _table(Gate)
accounts = _table(Account)
refusals = _table(Refusal)
prices = _table(Price)
canaries = _table(CanaryRow)
item_counts = _table(ItemCount)
listed_prices = _table(ListedPrice)
run_times = _table(RunTime)
sketches = _table(SketchRow)
history = _table(History)
chunks = _table(Chunk)
workers = _table(Worker)
beats = _table(Beat)
journals = _table(Journal)
lineage = _table(Lineage)
lost_batches = _table(LostBatch)
schema_floor = _table(SchemaFloor)
outbox = _table(Outbox)
spec_files = _table(SpecFile)
schedules = _table(Schedule)
occurrences = _table(Occurrence)
