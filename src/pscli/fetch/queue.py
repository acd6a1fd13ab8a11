"""Photos that wait to be fetched, by host: politely, and each host in turn."""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pscli.fetch.places import Wanted
from pscli.fetch.web import Limits

WINDOW = 4096  # photos that are waited for at a time


@dataclass
class Job:
    """A photo on its way."""

    wanted: Wanted
    attempt: int = 1
    place: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.wanted.places[self.place].host


class Queue:
    """Jobs by host: no more than a few of one at a time, none of a host that wants a rest."""

    def __init__(self, photos: Iterator[Wanted], limits: Limits) -> None:
        self._photos, self._per_host, self._limits = photos, limits.per_host, limits
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._later: list[tuple[float, int, Job]] = []
        self._busy: dict[str, int] = {}
        self._rest: dict[str, float] = {}  # host → time before which it is not asked
        self._patience: dict[str, float] = {}  # host → seconds that it may still make us wait
        self._open = self._number = 0
        self._more, self._stopped = True, False

    def take(self) -> Job | None:
        """The next job, when there is one; None when all are done."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                self._fill(now)
                for host, jobs in self._waiting.items():
                    if self._busy.get(host, 0) < self._per_host and self._rest.get(host, 0) <= now:
                        self._busy[host] = self._busy.get(host, 0) + 1
                        job = jobs.popleft()
                        self._waiting.move_to_end(host)  # hosts take turns
                        if not jobs:
                            del self._waiting[host]
                        return job
                if not self._open:
                    return None
                due = self._later[0][0] - now if self._later else 1.0
                self._changed.wait(min(max(due, 0.01), 0.1))
        return None

    def _fill(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            self._add(heapq.heappop(self._later)[2])
        while self._more and self._open < WINDOW:
            photo = next(self._photos, None)
            if photo is None:
                self._more = False
                return
            self._open += 1
            self._add(Job(photo))

    def _add(self, job: Job) -> None:
        host = job.host if job.wanted.places else ""
        self._waiting.setdefault(host, deque()).append(job)

    def again(self, job: Job, host: str, pause: float) -> None:
        """Puts a job back, for `pause` seconds at least."""
        with self._changed:
            self._busy[host] -= 1
            self._number += 1
            heapq.heappush(self._later, (time.monotonic() + pause, self._number, job))
            self._changed.notify()

    def done(self, host: str, came: bool = False) -> None:
        """A job is settled. Args: came: Whether its photo came from the host."""
        with self._changed:
            if came:
                self._patience[host] = self._patience.get(host, self._limits.max_rest) + 1
            self._busy[host] -= 1
            self._open -= 1
            self._changed.notify()
            if not self._open:
                self._changed.notify_all()

    def rest(self, host: str, pause: float) -> bool:
        """Leaves a host alone for that many seconds, if it may ask for that; whether it may."""
        if pause <= 0:
            return True
        with self._changed:
            now = time.monotonic()
            until = max(self._rest.get(host, now), now)
            longer = max(0.0, now + pause - until)
            patience = self._patience.get(host, self._limits.max_rest)
            if pause > self._limits.max_wait or longer > patience:
                return False
            self._rest[host], self._patience[host] = until + longer, patience - longer
            return True

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
