"""Saving videos: each once and whole, those that may expire soonest first.

Order of each video: its name claimed in the database → fetched into a part file → size and digest
recorded → the part renamed. A death in between is found out by `_look_at_saved` of the next start.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace

from orchestrator.domain.expiry import url_expiry
from orchestrator.domain.naming import Template, fold
from orchestrator.domain.outcome import Accepted, PollOutcome
from orchestrator.errors import OrchestratorError, ServiceError
from orchestrator.provider.video import Cut, Dead, Fetched, VideoClient, Whole, discard, sha256_of
from orchestrator.services.context import Context
from orchestrator.services.targets import Target
from orchestrator.store import downloads
from orchestrator.store.batches import Batch
from orchestrator.store.downloads import Place, Video

PAGE = 200
WAITING = 1000
"""Videos that wait in memory; more stay in the database until there is room."""
OVERLAP_MS = 60_000
"""A transaction that began earlier may commit later: so far back is looked again."""
TRIES = 5
"""In a row without a byte."""
ROUNDS = 1
"""More times that what was left is tried, once everything else is saved."""
LOOK_SECONDS = 1.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Saved:
    """One video that is in its place; size in bytes."""

    position: int
    row_key: str
    path: str
    size: int
    sha256: str


@dataclass(slots=True)
class Report:
    """Videos: saved now, there already, lost for good, and left for another try."""

    saved: int = 0
    known: int = 0
    lost: int = 0
    failed: int = 0
    size: int = 0
    """Bytes saved now."""
    stopped: OrchestratorError | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    """Why videos were lost or left: reason -> number."""

    def exit_code(self) -> int:
        if self.stopped is not None:
            return self.stopped.exit_code
        return 1 if self.lost or self.failed else 0

    def as_json(self) -> dict[str, object]:
        stopped = None if self.stopped is None else self.stopped.as_json()["error"]
        return asdict(replace(self, stopped=None)) | {"stopped": stopped}


@dataclass(slots=True)
class Downloader:
    """Saves the videos of one batch to one target.

    `ask`: the provider's answer about an account's task.
    """

    context: Context
    batch: Batch
    target: Target
    template: Template
    client: VideoClient
    ask: Callable[[str, str], Awaitable[PollOutcome]]
    at_once: int
    told: Callable[[Saved], None] = lambda _saved: None
    page: int = PAGE
    waiting: int = WAITING
    report: Report = field(default_factory=Report)
    _cursor: downloads.Cursor = downloads.START
    _newest: int = 0
    _left: list[Video] = field(default_factory=list)
    _met: set[tuple[int, int]] = field(default_factory=set)

    async def run(self, ended: Callable[[], bool]) -> Report:
        """Save what there is, and what comes, until `ended` says that no more will come."""
        await asyncio.to_thread(self._look_at_saved)
        queue: asyncio.PriorityQueue[tuple[int, tuple[int, int], Video]] = asyncio.PriorityQueue()
        async with asyncio.TaskGroup() as group:
            savers = [group.create_task(self._work(queue)) for _ in range(self.at_once)]
            await self._feed(queue, ended)
            for saver in savers:
                saver.cancel()
        self.report.failed = len(self._left)
        return self.report

    async def _feed(
        self,
        queue: asyncio.PriorityQueue[tuple[int, tuple[int, int], Video]],
        ended: Callable[[], bool],
    ) -> None:
        rounds = ROUNDS
        while self.report.stopped is None:
            last = await asyncio.to_thread(ended)
            room = self.waiting - queue.qsize()
            if room <= 0:  # Finding nothing would not mean that there is nothing.
                await asyncio.sleep(LOOK_SECONDS)
                continue
            found = await asyncio.to_thread(self._find, room)
            for video in found:
                queue.put_nowait((url_expiry(video.url, video.seen_at), video.key, video))
            if last and not found:
                await self._until_saved(queue)
                if not self._left or rounds == 0:
                    break
                rounds -= 1
                self.report.reasons.clear()
                for video in self._left:
                    queue.put_nowait((0, video.key, video))
                self._left.clear()
            if not found:
                await asyncio.sleep(LOOK_SECONDS)

    async def _until_saved(
        self, queue: asyncio.PriorityQueue[tuple[int, tuple[int, int], Video]]
    ) -> None:
        """All that is queued has been saved or given up, or there is no going on."""
        joined = asyncio.create_task(queue.join())
        while not joined.done() and self.report.stopped is None:
            await asyncio.wait([joined], timeout=LOOK_SECONDS / 4)
        joined.cancel()

    async def _work(self, queue: asyncio.PriorityQueue[tuple[int, tuple[int, int], Video]]) -> None:
        while True:
            _, _, video = await queue.get()
            try:
                if self.report.stopped is None:
                    await self._save(video)
            except OSError as error:
                self.report.stopped = _no_disk(error, self.target)
            except OrchestratorError as error:
                self.report.stopped = error
            finally:
                queue.task_done()

    async def _save(self, video: Video) -> None:
        place = await asyncio.to_thread(self._claim, video)
        fetched = await self._fetch(video.url, place)
        if isinstance(fetched, Dead):
            fetched = await self._fetch_fresh(video, place, fetched)
        match fetched:
            case Whole(size, sha256):
                await asyncio.to_thread(self._finish, video, place, size, sha256)
                self.report.saved += 1
                self.report.size += size
                self.told(Saved(video.position, video.row_key, place.path, size, sha256))
            case Dead(reason):
                await asyncio.to_thread(self._lose, video, reason)
                self.report.lost += 1
                self._count(reason)
            case Cut(reason):
                self._left.append(video)
                self._count(reason)

    def _count(self, reason: str) -> None:
        self.report.reasons[reason] = self.report.reasons.get(reason, 0) + 1

    async def _fetch(self, url: str, place: Place) -> Fetched:
        """Tries until it is whole or dead, or several in a row brought nothing."""
        vain = 0
        while True:
            fetched = await self.client.fetch(url, self.target.part(place.path))
            if not isinstance(fetched, Cut):
                return fetched
            vain = 0 if fetched.fetched else vain + 1
            if vain >= TRIES:
                return fetched
            await asyncio.sleep(min(0.25 * 2**vain, 10.0))

    async def _fetch_fresh(self, video: Video, place: Place, dead: Dead) -> Fetched:
        """Once more with the URL that the provider gives now."""
        if video.task_id is None:
            return dead
        answer = await self.ask(video.account, video.task_id)
        if not isinstance(answer, Accepted):
            return Cut(f"{dead.reason}, and the provider gave no fresh URL")
        urls = answer.task.videos
        if video.ordinal >= len(urls):
            return Dead(f"{dead.reason}, and the provider names no video any more")
        await asyncio.to_thread(self._refresh, video, urls)
        return await self._fetch(urls[video.ordinal], place)

    def _find(self, room: int) -> list[Video]:
        """The next videos to save; an empty answer means that all there are were met."""
        found: list[Video] = []
        while len(found) < room:
            with self.context.store.read() as tx:
                page = downloads.unsaved(
                    tx, self.batch.id, self.target.name, self._cursor, self.page
                )
            fresh = [video for video in page if video.key not in self._met]
            self._met.update(video.key for video in fresh)
            found += fresh
            if page:
                self._newest = max(self._newest, page[-1].seen_at)
                self._cursor = (page[-1].seen_at, *page[-1].key)
            if len(page) < self.page:
                self._cursor = (self._newest - OVERLAP_MS, 0, 0)
                break
        return found

    def _claim(self, video: Video) -> Place:
        """The video's own name, free of other rows' and of files that are not ours."""
        values = {
            **video.source,
            "position": video.position,
            "row_key": video.row_key,
            "name": self.batch.name,
            "label": self.batch.label,
            "ordinal": video.ordinal + 1,
            "generation": video.generation,
            "task_id": video.task_id,
        }
        again = 0
        while True:
            path = self.template.fill(values, again=again)
            with self.context.store.write() as tx:
                place = downloads.claim(tx, self.target.name, video, path, fold(path))
            if place is not None:
                # What is saved is recorded first, so an unrecorded file is somebody else's.
                if self.target.size(place.path) is None:
                    return place
                with self.context.store.write() as tx:
                    downloads.unclaim(tx, self.target.name, video.key)
            again += 1

    def _finish(self, video: Video, place: Place, size: int, sha256: str) -> None:
        with self.context.store.write() as tx:
            downloads.save(tx, self.target.name, video, size=size, sha256=sha256)
        self.target.finish(place.path)
        self._met.discard(video.key)

    def _lose(self, video: Video, reason: str) -> None:
        with self.context.store.write() as tx:
            downloads.lose(tx, self.target.name, video, actor=self.context.actor, reason=reason)

    def _refresh(self, video: Video, urls: tuple[str, ...]) -> None:
        with self.context.store.write() as tx:
            downloads.refresh(tx, video.submission_id, urls)

    def _look_at_saved(self) -> None:
        """What is recorded as saved is there, or is put there, or is fetched again."""
        with self.context.store.write() as tx:
            downloads.forget_lost(tx, self.batch.id, self.target.name)
        after = (-1, -1)
        while True:
            with self.context.store.read() as tx:
                page = downloads.saved(tx, self.batch.id, self.target.name, after, PAGE)
            if not page:
                return
            gone = [place for place in page if not self._is_there(place)]
            with self.context.store.write() as tx:
                keys = [(place.submission_id, place.ordinal) for place in gone]
                downloads.forget(tx, self.target.name, keys)
            self.report.known += len(page) - len(gone)
            after = (page[-1].submission_id, page[-1].ordinal)

    def _is_there(self, place: Place) -> bool:
        if self.target.size(place.path) == place.size:
            return True
        part = self.target.part(place.path)
        if not part.exists():
            return False
        if sha256_of(part) != place.sha256:
            discard(part)
            return False
        self.target.finish(place.path)
        return True


def _no_disk(error: OSError, target: Target) -> ServiceError:
    if error.errno in _FULL:
        return ServiceError(
            f"there is no room left for videos in {target.name}",
            mend="Make room, then give the same command again: what is saved stays, and what was "
            "begun goes on where it stopped.",
            code="disk_full",
        )
    return ServiceError(
        f"videos cannot be written to {target.name}: {error.strerror or error}",
        mend="Mend the folder or its permissions, then give the same command again.",
        code="download_folder",
    )
