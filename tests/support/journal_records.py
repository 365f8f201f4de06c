"""Records of every kind, as hypothesis makes them."""

from __future__ import annotations

from hypothesis import strategies as st

from orchestrator.journal import (
    Batch,
    Control,
    Intent,
    Outcome,
    OutcomeKind,
    Record,
    Reused,
    Terminal,
    Unknown,
    Verdict,
    VerdictKind,
)

# Every character, lone surrogates and line ends included: a row key is a person's text.
TEXTS = st.text(st.characters(), max_size=20)
MAYBE_TEXTS = st.none() | TEXTS
NUMBERS = st.integers(-(2**63), 2**63 - 1)
MAYBE_NUMBERS = st.none() | NUMBERS
EXTRAS = st.sampled_from(["", '{"colour":"red"}', '{"since":[1,2,{"x":null}],"ratio":0.1}'])

BATCHES = st.builds(
    Batch,
    namespace=TEXTS,
    name=TEXTS,
    label=TEXTS,
    key_version=NUMBERS,
    budget_nanos=MAYBE_NUMBERS,
    at=NUMBERS,
    provider=st.none() | st.text(min_size=1, max_size=20),
    account=TEXTS,
    extra=EXTRAS,
)
INTENTS = st.builds(
    Intent,
    idempotency_key=TEXTS,
    namespace=TEXTS,
    batch=TEXTS,
    label=TEXTS,
    row_key=TEXTS,
    generation=NUMBERS,
    model=TEXTS,
    digest=TEXTS,
    price_class=TEXTS,
    hold_nanos=MAYBE_NUMBERS,
    key_fingerprint=TEXTS,
    try_=NUMBERS,
    at=NUMBERS,
    claim=TEXTS,
    extra=EXTRAS,
)
OUTCOMES = st.builds(
    Outcome,
    idempotency_key=TEXTS,
    generation=NUMBERS,
    kind=st.sampled_from(OutcomeKind),
    at=NUMBERS,
    try_=MAYBE_NUMBERS,
    claim=TEXTS,
    state=MAYBE_TEXTS,
    task_id=MAYBE_TEXTS,
    request_id=MAYBE_TEXTS,
    cost_estimate=MAYBE_TEXTS,
    extra=EXTRAS,
)
TERMINALS = st.builds(
    Terminal,
    idempotency_key=TEXTS,
    task_id=TEXTS,
    state=TEXTS,
    cost_actual=MAYBE_TEXTS,
    cost_assumed=MAYBE_TEXTS,
    videos=st.lists(TEXTS, max_size=3).map(tuple),
    at=NUMBERS,
    extra=EXTRAS,
)
CONTROLS = st.builds(
    Control,
    namespace=TEXTS,
    name=TEXTS,
    label=TEXTS,
    wanted=TEXTS,
    budget_nanos=MAYBE_NUMBERS,
    actor=TEXTS,
    at=NUMBERS,
    extra=EXTRAS,
)
VERDICTS = st.builds(
    Verdict,
    idempotency_key=TEXTS,
    verdict=st.sampled_from(VerdictKind),
    task_id=MAYBE_TEXTS,
    cost=MAYBE_TEXTS,
    actor=TEXTS,
    at=NUMBERS,
    extra=EXTRAS,
)
REUSED = st.builds(
    Reused,
    idempotency_key=TEXTS,
    namespace=TEXTS,
    batch=TEXTS,
    label=TEXTS,
    row_key=TEXTS,
    generation=NUMBERS,
    model=TEXTS,
    digest=TEXTS,
    price_class=TEXTS,
    key_fingerprint=TEXTS,
    task_id=TEXTS,
    videos=st.lists(TEXTS, max_size=3).map(tuple),
    source=TEXTS,
    at=NUMBERS,
    extra=EXTRAS,
)
UNKNOWNS = st.builds(Unknown, kind=st.sampled_from(["later", "other"]), extra=EXTRAS)
RECORDS: st.SearchStrategy[Record] = (
    BATCHES | INTENTS | OUTCOMES | TERMINALS | CONTROLS | VERDICTS | REUSED | UNKNOWNS
)
