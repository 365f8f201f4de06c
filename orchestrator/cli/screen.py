"""What a batch looks like on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.output import dollars, plural
from orchestrator.domain.account import DEFAULT
from orchestrator.domain.batch import BatchState
from orchestrator.domain.canary import Phase
from orchestrator.domain.identity import from_content
from orchestrator.domain.results import prompt_of
from orchestrator.domain.states import State
from orchestrator.services.status import BatchStatus, span
from orchestrator.store.views import Result

_COLOURS = {
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.REJECTED: "red",
    State.CANCELLED: "red",
    State.INVALID: "red",
    State.UNKNOWN: "yellow",
    State.PROCESSING: "cyan",
    State.QUEUED: "cyan",
    State.SUBMITTING: "cyan",
}
_STATE_COLOURS = {
    BatchState.FINISHED: "green",
    BatchState.BLOCKED: "red",
    BatchState.PAUSED: "yellow",
    BatchState.CANCELLING: "yellow",
}


_EXCERPT = 32
"""Cells of its prompt by which a row without an id is told."""


def batch_screen(
    now: BatchStatus,
    failed: Sequence[tuple[str, str, str, int]],
    *,
    idle: str = ", but no worker is running",
    beside: str | None = None,
) -> RenderableType:
    """One screen: is it fine, when is it done, what does it cost.

    `idle`: what is said of a batch that only waits for a worker; `beside`: of what else goes on.
    """
    parts: list[RenderableType] = [_head(now, idle), _bar(now), _states(now), _money(now)]
    if beside is not None:
        parts.append(Text(f"  {beside}"))
    if now.gate is not None:
        parts.append(Text.assemble(("  gate  ", "yellow"), now.gate.message))
        until = f"until {_clock(now.gate.until)}; " if now.gate.until else ""
        parts.append(Text(f"        {until}{now.gate.mend}", style="dim"))
    elif now.batch.stop_message:
        parts.append(Text.assemble(("  stop  ", "red"), now.batch.stop_message))
        parts.append(Text(f"        {now.stop_mend()}", style="dim"))
    if now.batch.canary is not None and now.batch.canary_phase is Phase.TRYING:
        text = f"  canary: {now.batch.canary.rows:,} rows go first, the others wait for them"
        parts.append(Text(text, style="dim"))
    for code, number in now.waiting.items():
        text = f"{plural(number, 'item')} need{'s' if number == 1 else ''} a person: {code}"
        parts.append(Text.assemble(("  person ", "yellow"), text))
        parts.append(Text(f"        {now.person_mend(code)}", style="dim"))
    if (mend := now.wanted_mend()) is not None:
        parts.append(Text(f"  {mend}", style="dim"))
    for state, code, message, number in failed[:5]:
        label = state if code == state else f"{state} {code}"
        parts.append(Text.assemble((f"  {number:>5,} {label}", "red"), f"  {message[:200]}"))
        parts.append(Text(f"        {now.failure_mend(code)}", style="dim"))
    return Group(*parts)


def _clock(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()
    return f"{moment:%H:%M:%S}"


def _head(now: BatchStatus, idle: str) -> Text:
    colour = _STATE_COLOURS.get(now.state, "cyan")
    head = Text.assemble((now.batch.title, "bold"), "  ", (str(now.state), colour))
    if now.batch.account != DEFAULT:
        head.append(f"  by {now.batch.account}", "dim")
    return head.append(idle, "yellow") if now.idle else head


def _bar(now: BatchStatus) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_row(
        " ",
        ProgressBar(total=max(1, now.total), completed=now.done, width=40),
        Text(f"{now.done:,}/{now.total:,}"),
        Text(_expected(now), style="dim"),
    )
    return row


def _expected(now: BatchStatus) -> str:
    coming = now.forecast
    if coming is None:
        return ""
    low, high = span(coming.low), span(coming.high)
    spread = low if low == high else f"{low} to {high}"
    return f"{coming.per_second:.1f}/s, {span(coming.likely)} to go ({spread})"


def _states(now: BatchStatus) -> Text:
    text = Text("  ")
    for state, number in now.counts.items():
        if number:
            text.append(f"{number:,} {state}  ", style=_COLOURS.get(state, ""))
    return text


def _money(now: BatchStatus) -> Text:
    batch = now.batch
    parts = [f"spent {dollars(now.cost_nanos)}", f"held {dollars(batch.held_nanos)}"]
    if batch.assumed_nanos:
        parts.append(f"of it assumed {dollars(batch.assumed_nanos)}")
    if not now.settled:
        projected = now.projected
        more = "" if projected.known else " and more"
        parts.append(f"projected {dollars(projected.low)}{more}")
    if batch.budget_nanos is not None:
        parts.append(f"budget {dollars(batch.budget_nanos)}")
    return Text("  " + " · ".join(parts))


def batches_table(found: Sequence[BatchStatus]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    # Titles are there to be copied: whatever has to shrink, they do not.
    longest = max((len(one.batch.title) for one in found), default=0)
    table.add_column("batch", no_wrap=True, min_width=longest)
    for column, justify in (
        ("state", "left"),
        ("done", "right"),
        ("failed", "right"),
        ("person", "right"),
        ("spent", "right"),
        ("held", "right"),
        ("budget", "right"),
    ):
        table.add_column(column, justify="left" if justify == "left" else "right")
    for one in found:
        budget = one.batch.budget_nanos
        table.add_row(
            one.batch.title,
            Text(str(one.state), style=_STATE_COLOURS.get(one.state, "cyan")),
            f"{one.done:,}/{one.total:,}",
            f"{one.unsuccessful:,}",
            f"{one.needs_person:,}",
            dollars(one.cost_nanos),
            dollars(one.batch.held_nanos),
            "-" if budget is None else dollars(budget),
        )
    return table


def results_lines(results: Sequence[Result]) -> Iterator[RenderableType]:
    """A line a row, its URLs unbroken however narrow the terminal; reasons wrap by words."""
    heads = [_result_head(one) for one in results]
    titles = ("row", "what", "state", "cost")
    widths = [max(map(cell_len, column)) for column in zip(titles, *heads, strict=True)]

    def line(cells: Sequence[str], style: str = "") -> Text:
        padded = [set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True)]
        text = Text("  ".join(padded), no_wrap=True, overflow="ignore")
        start = len("  ".join(padded[:2])) + 2
        text.stylize(style, start, start + len(cells[2]))
        return text

    yield line(titles).append("  video or reason")
    for one, head in zip(results, heads, strict=True):
        text = line(head, _COLOURS.get(one.state, ""))
        if one.video_urls:
            yield text.append("  " + " ".join(one.video_urls))
            continue
        row = Table.grid(padding=(0, 2))
        row.add_column(no_wrap=True)
        row.add_column()
        row.add_row(text, Text(one.error_message or one.error_code or ""))
        yield row


def _result_head(one: Result) -> tuple[str, str, str, str]:
    cost = one.actual_nanos if one.actual_nanos is not None else one.assumed_nanos
    what = one.row_key
    if from_content(what):
        prompt = " ".join((prompt_of(one.source) or what).split())
        what = prompt if cell_len(prompt) <= _EXCERPT else set_cell_size(prompt, _EXCERPT - 1) + "…"
    return str(one.position), what, str(one.state), "" if cost is None else dollars(cost)
