"""Crew: the threads of a recorded run, so many at work as there are cores, at whatever is to be done next.

    capture ─► frames ─► predict (a post a worker) ─► in their order ─► publish ─► outputs ─► a post a sink

With a thread a stage more threads than cores take turns: a stage finds the caches of its core full of the
others' code and data, and wakes the next one for every frame. A thread of the crew stays at its post for
several frames in a row, and then goes where most is to be done. So many are at work that the cores are busy:
who waits for a disk or a GPU counts by the share of a core that its post takes.

Of 1280x720 on two cores that gives 5 to 7 % more frames a second than a thread a stage that hands bursts of
4 and 16 over, with 20 MB less (medians of 6 rounds in turns, two networks, with and without a video).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition, Event, Thread
from typing import Any, Final

from perception.frame import OutputItem, SourceItem
from perception.pipeline.gauges import Gauges
from perception.pipeline.posts import CapturePost, Flow, PerceivePost, Post, PublishPost, SinkPost
from perception.sinks.sink import Sink

FRAMES_AHEAD: Final = 4
"""Frames a worker that may wait to be predicted, and that it may have in hand."""
BURST: Final = 8
BURST_BYTES: Final = 12_000_000
"""Of frames that are decoded, or written, in a row, at most."""
FREE_SHARE: Final = 0.75
"""Of a core: who would take that much or more of it may begin."""
LOOK_EVERY_S: Final = 0.05
"""One of those who have nothing to do looks whether those at work only wait."""


class Crew:
    """Takes every frame of one source to every sink, in order."""

    def __init__(
        self,
        capture: Callable[[], SourceItem],
        predictors: Sequence[Callable[[SourceItem], OutputItem]],
        publish: Callable[[OutputItem], OutputItem],
        sinks: Sequence[Sink],
        gauges: Gauges,
        *,
        frame_wh: tuple[int, int],
        size: int,
    ) -> None:
        """Make the posts.

        Args:
            capture: gives the next frame; raises EndOfSource behind the last.
            predictors: each is used by one thread at a time.
            publish: called with one output at a time, in order.
            sinks: open; the crew closes them.
            gauges: told of every stage.
            frame_wh: width and height, pixels: of large frames fewer are held.
            size: cores. So many threads are at work at a time, and more where some of them only wait.
        """
        self._gauges = gauges
        self._changed = Condition()
        self._size = size
        self._idle = 0
        self._is_watched = False
        self._is_ending = Event()
        self._flow = Flow()
        burst = _burst_of(frame_wh)
        self.sinks = {sink.name: SinkPost(sink, self._flow, gauges, burst=burst) for sink in sinks}
        ahead = FRAMES_AHEAD * len(predictors)
        self._publishing = PublishPost(publish, self._flow, gauges)
        capturing = CapturePost(capture, self._flow, gauges, ahead=2 * ahead, burst=burst)
        workers = [
            PerceivePost(number, predict, self._flow, gauges, ahead=ahead)
            for number, predict in enumerate(predictors)
        ]
        # Who is done with a burst goes to the first of them where it is worth it: what only one thread at a
        # time can do goes before what all can.
        self._posts: list[Post[Any, Any]] = [self._publishing, capturing, *self.sinks.values(), *workers]
        self._threads = [
            Thread(target=self._run, name=f"crew-{number}", daemon=True) for number in range(len(self._posts))
        ]

    @property
    def count(self) -> int:
        """Threads."""
        return len(self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more frames; what was taken goes on to the sinks. Safe to call twice."""
        with self._changed:
            self._flow.is_over = True
            self._changed.notify_all()

    def replace(self, stage: str) -> bool:
        """Of a recording no sink is started anew."""
        return False

    def abandon(self, stage: str) -> None:
        """Do without a stage that hangs: the sinks finish their files with what they have."""
        with self._changed:
            hangs = stage == self._publishing.name
            if hangs:
                self._flow.outputs.clear()
            self._flow.abandon(int(self._publishing.is_manned and not hangs))
            self._changed.notify_all()

    def wait_until_ending(self) -> None:
        """Wait for the first error, or for the end."""
        self._is_ending.wait()

    def join(self) -> None:
        """Wait for the end of all threads."""
        for thread in self._threads:
            thread.join()

    def stuck_stages(self) -> list[str]:
        """Names of the stages that a thread is at, and of the sinks that are not closed."""
        not_closed = [sink for sink in self.sinks.values() if not sink.is_closed]
        return [post.name for post in self._posts if post.is_manned or post in not_closed]

    def _run(self) -> None:
        job: _Job | None = None
        while True:
            with self._changed:
                if job:
                    self._settle(job)
                job = self._next_job(job)
            if job is None:
                self._is_ending.set()
                return
            job.do()

    def _settle(self, job: _Job) -> None:
        job.post.is_manned = False
        if job.error is None:
            job.post.deliver(job.item, job.result)
        else:
            job.post.fail(job.item, job.error)
        job.item = job.result = None  # no frame is held by who waits for the next one
        if self._gauges.errors:
            self._is_ending.set()

    def _next_job(self, last: _Job | None) -> _Job | None:
        """Waits for one; None at the end."""
        post, in_a_row = None, 0
        if last and last.in_a_row < last.post.burst and last.post.waiting():
            post, in_a_row = last.post, last.in_a_row
        while not (post := post or self._choose()):
            if self._is_done:
                self._changed.notify_all()
                return None
            looks = not self._is_watched
            self._is_watched = True
            self._idle += 1
            self._changed.wait(LOOK_EVERY_S if looks else None)
            self._idle -= 1
            self._is_watched = self._is_watched and not looks
        post.is_manned = True
        job = _Job(post, post.take(), in_a_row + 1)
        if self._idle and (not self._is_watched or self._is_done or self._choose()):
            self._changed.notify()
        return job

    def _choose(self) -> Post[Any, Any] | None:
        """Where most is to be done; rather a little than nothing. None while enough threads are at work."""
        if self._size - sum(post.load for post in self._posts if post.is_manned) < FREE_SHARE:
            return None
        free = [(post, waiting) for post in self._posts if not post.is_manned and (waiting := post.waiting())]
        for post, waiting in free:
            if waiting >= post.worth:
                return post
        return free[0][0] if free else None

    @property
    def _is_done(self) -> bool:
        return self._flow.is_through and all(sink.is_closed for sink in self.sinks.values())


class _Job:
    """One item at one post, and what comes of it."""

    def __init__(self, post: Post[Any, Any], item: Any, in_a_row: int) -> None:
        self.post, self.item, self.in_a_row = post, item, in_a_row
        self.result: Any = None
        self.error: Exception | None = None

    def do(self) -> None:
        """Without the crew's lock."""
        try:
            self.result = self.post.work(self.item)
        except Exception as error:
            self.error = error
        except BaseException as error:  # a library's own; the thread goes on, so that the run ends well
            self.error = RuntimeError(f"{type(error).__name__}: {error}")


def _burst_of(frame_wh: tuple[int, int]) -> int:
    """Frames of this size in a row: many small ones, a single large one."""
    width, height = frame_wh
    return max(1, min(BURST, BURST_BYTES // (width * height * 3 // 2)))
