"""Makes a worker process kill itself at a named point, for tests of what a death costs.

Goes on PYTHONPATH of the started processes. `DIE_ORDERS` names a folder; a file there that is named
like a point is an order to die at it, once: whoever renames the file carries it out. What is
patched is the outside of the functions of the purchase path, after they were imported; they know
nothing of it.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import signal
import sys
import threading
from pathlib import Path

_ORDERS = os.environ.get("DIE_ORDERS")
_ARMED = "workers.tasks"
_doing = threading.local()


def _ordered(point: str) -> bool:
    order = Path(_ORDERS or "", point)
    try:
        order.rename(order.with_suffix(".died"))
    except FileNotFoundError:
        return False
    return True


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    # The signal is for the whole process: this thread must not go on until it has come.
    threading.Event().wait()


def _die_if(point: str) -> None:
    if _ordered(point):
        _die()


def _wrap(owner, name, *, before=None, after=None, when=lambda *_: True):
    """`when` is asked with the arguments before the call, with the result after it."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def plain(*args, **kwargs):
        if before and when(*args):
            _die_if(before())
        result = real(*args, **kwargs)
        if after and when(result):
            _die_if(after())
        return result

    @functools.wraps(real)
    async def waiting(*args, **kwargs):
        if before and when(*args):
            _die_if(before())
        result = await real(*args, **kwargs)
        if after and when(result):
            _die_if(after())
        return result

    setattr(owner, name, waiting if inspect.iscoroutinefunction(real) else plain)


def _point(name):
    return lambda: name


def _stage(point):
    return lambda: f"{getattr(_doing, 'stage', 'else')}-{point}"


def _staged(owner, name, stage_of):
    """Remember in this thread what the function is at, for the points inside it."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def staged(*args, **kwargs):
        _doing.stage = stage_of(*args)
        try:
            return real(*args, **kwargs)
        finally:
            _doing.stage = "else"

    setattr(owner, name, staged)


def _poison_is_in(body):
    order = Path(_ORDERS or "", "poison")
    return order.exists() and order.read_bytes() in body


def _poisoned(real):
    """A row whose prompt the order `poison` names kills its worker every time."""

    @functools.wraps(real)
    async def submit(self, body, key):
        if _poison_is_in(body):
            _die()
        return await real(self, body, key)

    return submit


def _arm() -> None:
    from orchestrator.domain.outcome import Accepted, TaskStatus
    from orchestrator.journal import JournalWriter, writer
    from orchestrator.provider import ProviderClient, client
    from orchestrator.services import polling, presence, recording, rescue, submission
    from orchestrator.store import batches, claims
    from workers import tasks

    running = (None, TaskStatus.QUEUED, TaskStatus.PROCESSING)

    def ends(answer):
        outcome = answer.outcome
        return isinstance(outcome, Accepted) and outcome.task.status not in running

    def method(response):
        return response.request.method

    def recorded_stage(_recorder, group):
        if isinstance(group[0][1], recording.Sent):
            return "answer"
        return "end" if any(ends(answer) for _, answer in group) else "poll"

    def torn(real):
        def write_all(descriptor, data):
            if _ordered(_stage("torn")()):
                real(descriptor, data[: len(data) // 2])
                _die()
            real(descriptor, data)

        return write_all

    _wrap(claims, "claim_items", after=_point("claim-uncommitted"))
    _wrap(submission, "claim_chunk", after=_point("claim-committed"))
    _staged(submission, "_journal_intents", lambda *_: "intent")
    _wrap(ProviderClient, "submit", before=_point("post-unsent"), after=_point("post-answered"))
    ProviderClient.submit = _poisoned(ProviderClient.submit)
    _wrap(client, "_read", before=_point("post-unread"), when=lambda *a: method(a[0]) == "POST")

    _wrap(recording.Recorder, "_write", before=_stage("unjournalled"), after=_stage("recorded"))
    _staged(recording.Recorder, "_write", recorded_stage)
    writer._write_all = torn(writer._write_all)
    _wrap(JournalWriter, "append", after=_stage("journalled"))
    _wrap(batches, "add_money", before=_stage("half-written"))

    _wrap(polling, "_held", after=_point("poll-leased"))
    _wrap(ProviderClient, "task", before=_point("get-unsent"), after=_point("get-answered"))

    _staged(rescue, "run_once", lambda *_: "rescue")
    _wrap(presence, "bury", before=_point("rescue-unburied"), when=lambda _, names: bool(names))
    _wrap(tasks, "publish_submit", before=_point("chunk-unpublished"))
    _wrap(tasks, "publish_poll", before=_point("poll-unpublished"))


class _Arming:
    """Finds the tasks' module as everybody does, and arms what it imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != _ARMED:
            return None
        sys.meta_path.remove(_Arming)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            _arm()

        spec.loader.exec_module = exec_module
        return spec


if _ORDERS:
    sys.meta_path.insert(0, _Arming)
