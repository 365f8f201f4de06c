"""Journals as the program writes them: whole histories of purchases, spread over files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from orchestrator.domain.outcome import TaskStatus
from orchestrator.journal import (
    Batch,
    Control,
    Intent,
    Outcome,
    OutcomeKind,
    Record,
    Terminal,
    Verdict,
    VerdictKind,
)
from orchestrator.journal.record import to_line

NAMESPACE, NAME, LABEL = "", "launch", "default"
SENT = 1_800_000_000_000
PRICE = "0.0414"

_COSTLESS = [OutcomeKind.NOTHING_CHARGED, OutcomeKind.GATED, OutcomeKind.NOT_SENT]
_OPEN = [None, OutcomeKind.AMBIGUOUS]
Content = tuple[Record, ...]


@dataclass(slots=True)
class Purchase:
    """Writes the records of one purchase, a second apart."""

    key: str
    at: int = SENT

    def _later(self) -> int:
        self.at += 1000
        return self.at

    def intent(self, number: int, *, hold: int | None = 41_400_000) -> Intent:
        return Intent(
            idempotency_key=self.key,
            namespace=NAMESPACE,
            batch=NAME,
            label=LABEL,
            row_key=f"row {self.key}",
            generation=0,
            model="kling-v2-6",
            digest="d1",
            price_class="std",
            hold_nanos=hold,
            key_fingerprint="acc",
            try_=number,
            at=self._later(),
            claim=f"claim {number}",
        )

    def outcome(self, number: int, kind: OutcomeKind) -> Outcome:
        accepted = kind is OutcomeKind.ACCEPTED
        return Outcome(
            idempotency_key=self.key,
            generation=0,
            kind=kind,
            at=self._later(),
            try_=number,
            claim=f"claim {number}",
            task_id=f"task {self.key}" if accepted else None,
            request_id=f"req {self.key}" if accepted else None,
            cost_estimate=PRICE if accepted else None,
        )

    def terminal(self, status: TaskStatus, *, actual: str | None) -> Terminal:
        succeeded = status is TaskStatus.SUCCEEDED
        return Terminal(
            idempotency_key=self.key,
            task_id=f"task {self.key}",
            state=status.value,
            cost_actual=actual,
            cost_assumed=None if actual else (PRICE if succeeded else "0"),
            videos=(f"http://videos/{self.key}.mp4",) if succeeded else (),
            at=self._later(),
            error_code=None if succeeded else "nsfw",
        )

    def verdict(self, kind: VerdictKind) -> Verdict:
        return Verdict(
            idempotency_key=self.key,
            verdict=kind,
            task_id=f"task {self.key}" if kind is VerdictKind.ADOPTED else None,
            cost="0.05" if kind is VerdictKind.CHARGED else None,
            actor="me",
            at=self._later(),
        )


_ENDS = [TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED]


@st.composite
def purchases(draw: st.DrawFn, key: str) -> list[Record]:
    """Everything about one purchase, in the order of its happening."""
    purchase = Purchase(key)
    records: list[Record] = []
    tries = draw(st.integers(1, 3))
    for number in range(1, tries + 1):
        records.append(purchase.intent(number, hold=draw(st.sampled_from([None, 41_400_000]))))
        kind = draw(st.sampled_from([*_OPEN, *_COSTLESS]))
        if number == tries:
            last = [kind, OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED, OutcomeKind.REJECTED]
            kind = draw(st.sampled_from(last))
        if kind is not None:
            records.append(purchase.outcome(number, kind))
    accepted = any(isinstance(one, Outcome) and one.kind is OutcomeKind.ACCEPTED for one in records)
    if not accepted and draw(st.booleans()):
        verdict = purchase.verdict(draw(st.sampled_from(VerdictKind)))
        records.append(verdict)
        accepted = verdict.verdict is VerdictKind.ADOPTED
    if accepted and draw(st.booleans()):
        actual = draw(st.none() | st.just("0.05"))
        records.append(purchase.terminal(draw(st.sampled_from(_ENDS)), actual=actual))
    return records


@st.composite
def batches(draw: st.DrawFn) -> list[Record]:
    """A batch's records: its own, what a person wanted of it, and up to three purchases."""
    records: list[Record] = []
    for number in range(draw(st.integers(0, 2))):
        records.append(
            Batch(
                namespace=NAMESPACE,
                name=NAME,
                label=LABEL,
                key_version=1,
                budget_nanos=number,
                at=SENT + number,
            )
        )
        records.append(
            Control(
                namespace=NAMESPACE,
                name=NAME,
                label=LABEL,
                wanted=draw(st.sampled_from(["open", "paused"])),
                budget_nanos=number,
                actor="me",
                at=SENT + number,
            )
        )
    for number in range(draw(st.integers(1, 3))):
        records += draw(purchases(f"k{number}"))
    return records


@st.composite
def spread(draw: st.DrawFn, records: Sequence[Record], files: int = 3) -> list[Content]:
    """The same records over several files, some of them twice, in any order between files."""
    contents: list[list[Record]] = [[] for _ in range(files)]
    for record in records:
        for number in draw(st.sets(st.integers(0, files - 1), min_size=1, max_size=2)):
            contents[number].append(record)
    return [tuple(content) for content in contents]


def write_files(directory: Path, contents: Sequence[Sequence[Record]]) -> list[Path]:
    """One file for each content, in this order by name."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for number, content in enumerate(contents):
        path = directory / f"{number}.journal"
        path.write_bytes(b"".join(map(to_line, content)))
        written.append(path)
    return written
