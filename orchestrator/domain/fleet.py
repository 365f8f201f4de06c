"""What the workers of a fleet say of themselves, and what that means for all of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from orchestrator.domain import clocks
from orchestrator.domain.account import key_variable
from orchestrator.domain.clocks import Skew
from orchestrator.domain.findings import Finding, bad, ok, warning
from orchestrator.domain.mounts import Lasting

LITTLE_ROOM = 1_000_000_000
"""Bytes free where journals are: below it, somebody should know."""


@dataclass(frozen=True, slots=True)
class About:
    """What one process says of itself and its machine, told with its sign of life."""

    host: str = ""
    machine: str = ""
    """The same for all containers of one machine."""
    version: str = ""
    queues: tuple[str, ...] = ()
    connections: int = 0
    """The most it may open to the database."""
    provider: str = ""
    accounts: tuple[str, ...] = ()
    """Those whose key it has, as `name:fingerprint`."""
    journal: str = ""
    journal_id: str = ""
    """Of the directory itself, wherever it is mounted; empty where it cannot be written."""
    journal_kind: str = ""
    journal_lasting: str = Lasting.UNKNOWN
    journal_free: int | None = None
    plain_secrets: tuple[str, ...] = ()
    """Variables that hold a secret themselves rather than name a file."""
    ahead: int | None = None
    """Milliseconds its clock is ahead of the database's."""
    doubt: int = 0

    @property
    def keys(self) -> dict[str, str]:
        """Account -> its key's fingerprint."""
        return {name: key for name, _, key in (one.partition(":") for one in self.accounts)}

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def about_from(text: str | None) -> About | None:
    """None where an older release says nothing; what a newer one says besides is passed over."""
    if text is None:
        return None
    known = {field.name for field in fields(About)}
    said: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(text).items()
        if name in known
    }
    return About(**said)


@dataclass(frozen=True, slots=True)
class Member:
    """A living worker process, or a pool of threads."""

    name: str
    processes: int
    submits: bool
    about: About | None

    @property
    def host(self) -> str:
        return self.about.host if self.about else self.name.rpartition(":")[0]


def connections_of(members: Iterable[Member]) -> int:
    """What all of them may open to the database."""
    return sum(member.about.connections for member in members if member.about)


def examine(
    members: Sequence[Member], beats: Sequence[str], *, version: str, queues: Sequence[str]
) -> list[Finding]:
    """`version` is this program's, `queues` are those that somebody must take."""
    return [
        *_queues(members, queues),
        *_beats(beats),
        *_versions(members, version),
        *_clocks(members),
        *_journals(members),
        *_shared_journals(members),
        *_secrets(members),
        *_providers(members),
        *_accounts(members),
    ]


def _abouts(members: Iterable[Member]) -> list[About]:
    return [member.about for member in members if member.about]


def _queues(members: Sequence[Member], queues: Sequence[str]) -> Iterator[Finding]:
    hosts = {member.host for member in members}
    if not members:
        yield bad("workers", "no worker is alive, so nothing is sent", "celery -A workers worker")
        return
    processes = sum(member.processes for member in members)
    yield ok("workers", f"{processes} processes on {len(hosts)} hosts")
    taken: dict[str, int] = dict.fromkeys(queues, 0)
    for member in members:
        for queue in member.about.queues if member.about else queues:
            taken[queue] = taken.get(queue, 0) + member.processes
    for queue in queues:
        if taken[queue]:
            yield ok("queues", f"{queue}: {taken[queue]} processes")
        else:
            yield bad(
                "queues",
                f"no worker takes the queue {queue}",
                f"celery -A workers worker -Q {queue}",
            )


def _beats(beats: Sequence[str]) -> Iterator[Finding]:
    if not beats:
        yield bad(
            "beats",
            "no tick has come from a beat lately: nothing is dispatched, polled or rescued",
            "celery -A workers beat",
        )
    elif len(beats) == 1:
        yield warning(
            "beats",
            f"one beat sends ticks ({beats[0]}); when it stops, everything waits for it",
            "Start a second one on another machine: doubled ticks are harmless.",
        )
    else:
        yield ok("beats", f"{len(beats)}: {', '.join(beats)}")


def _versions(members: Sequence[Member], ours: str) -> Iterator[Finding]:
    hosts: defaultdict[str, set[str]] = defaultdict(set)
    for member in members:
        hosts[member.about.version if member.about else "an older release"].add(member.host)
    if set(hosts) <= {ours}:
        if hosts:
            yield ok("versions", f"all are {ours}, as this program is")
        return
    told = "; ".join(f"{v}: {', '.join(sorted(names))}" for v, names in sorted(hosts.items()))
    yield warning(
        "versions",
        f"workers are of other releases than this program ({ours}): {told}",
        "Finish the rollout; releases next to each other may work together meanwhile.",
    )


def _clocks(members: Sequence[Member]) -> Iterator[Finding]:
    worst: dict[str, Skew] = {}
    for about in _abouts(members):
        if about.ahead is not None:
            skew = Skew(about.ahead, about.doubt)
            known = worst.get(about.host)
            worst[about.host] = skew if known is None or skew.least > known.least else known
    yield from (clocks.judge(skew, host) for host, skew in sorted(worst.items()))


def _journals(members: Sequence[Member]) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for about in _abouts(members):
        if (about.host, about.journal) in seen:
            continue
        seen.add((about.host, about.journal))
        yield from judge_journal(about)


def judge_journal(about: About) -> Iterator[Finding]:
    """Whether one machine's journal outlives it."""
    where = f"{about.journal} of {about.host} ({about.journal_kind or 'unknown file system'})"
    mend = "Set ORCHESTRATOR_JOURNAL_DIR to a disk or volume that outlives the machine's processes."
    if not about.journal_id:
        yield bad(
            "journals",
            f"the journal {where} cannot be written, so nothing is sent from there",
            "Give the workers' user write permission there, or mend the disk.",
        )
    elif about.journal_lasting == Lasting.EPHEMERAL:
        yield bad(
            "journals",
            f"the journal {where} is gone with its container or at a restart: what was bought "
            "could not be known any more if the database were lost",
            mend,
        )
    elif about.journal_lasting == Lasting.NETWORK:
        yield warning(
            "journals",
            f"the journal {where} is on a network file system, whose word that something is on "
            "disk may mean less",
            mend,
        )
    else:
        yield ok("journals", f"{where}")
    if about.journal_free is not None and about.journal_free < LITTLE_ROOM:
        yield warning(
            "journals",
            f"{about.journal_free / 1e6:,.0f} MB are free for the journal {where}; without room "
            "nothing is sent",
            "`orchestrator journal compact` there, or a larger disk.",
        )


def _shared_journals(members: Sequence[Member]) -> Iterator[Finding]:
    machines: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for about in _abouts(members):
        if about.journal_id:
            machines[about.journal_id].setdefault(about.machine, about.host)
    for hosts in machines.values():
        if len(hosts) > 1:
            yield warning(
                "journals",
                f"{', '.join(sorted(hosts.values()))} write their journals into one directory: "
                "they would be lost together",
                "Give every machine a journal directory of its own.",
            )


def _secrets(members: Sequence[Member]) -> Iterator[Finding]:
    hosts: defaultdict[str, set[str]] = defaultdict(set)
    for about in _abouts(members):
        for name in about.plain_secrets:
            hosts[name].add(about.host)
    for name, where in sorted(hosts.items()):
        yield plain_secret(name, ", ".join(sorted(where)))


def plain_secret(name: str, where: str) -> Finding:
    return warning(
        "secrets",
        f"{name} stands in the environment on {where}, where process lists and container tools "
        "show it",
        f"Put it into a file and name that in {name}_FILE.",
    )


def _providers(members: Sequence[Member]) -> Iterator[Finding]:
    hosts: defaultdict[str, set[str]] = defaultdict(set)
    for about in _abouts(members):
        hosts[about.provider].add(about.host)
    if len(hosts) > 1:
        told = "; ".join(f"{url}: {', '.join(sorted(who))}" for url, who in sorted(hosts.items()))
        yield bad(
            "provider",
            f"workers send to different addresses: {told}",
            "Set MINDVIDEO_BASE_URL alike on every machine.",
        )


def _accounts(members: Sequence[Member]) -> Iterator[Finding]:
    """Each worker serves those whose key it has; what comes to another is given back."""
    abouts = _abouts(members)
    keys: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for about in abouts:
        for name, key in about.keys.items():
            keys[name][about.host] = key
    hosts = {about.host for about in abouts}
    for name, by_host in sorted(keys.items()):
        lacking = sorted(hosts - by_host.keys())
        if lacking:
            yield warning(
                "accounts",
                f"{', '.join(lacking)} has no key for the account {name}, which others have",
                f"Set {key_variable(name)} alike on every machine.",
            )
        if len(set(by_host.values())) > 1:
            yield warning(
                "accounts",
                f"the account {name} is not the same key on {', '.join(sorted(by_host))}",
                f"Set {key_variable(name)} alike on every machine; an old key may have a name of "
                "its own.",
            )
