"""A bounded queue that runs the tasks of one model in batches.

    submit -> threads: prepare -> ready -> one thread: run a batch -> threads: finish -> futures

Threads do the work that needs no model. An error of one task sets only its own future: if a batch fails, its
tasks are run one by one.
"""

import collections
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from absl import logging

from mask_rcnn.errors import short_message
from mask_rcnn.serving.request_error import RequestError

AHEAD_BATCHES = 4  # number of batches of decoded images that wait, so that images of one size can share one


@dataclass(frozen=True)
class Task:
    """Work of a model for one image.

    Args:
        prepare: Function without arguments that returns `(key, inputs, context)`. Tasks with the same `run`
            and the same key may share a batch. With the key None, a task has a batch of its own.
        run: Function of a list of inputs that returns a list of outputs of the same length.
        finish: Function of the outputs and the context of the task that returns its result.
    """

    prepare: Callable[[], tuple[Hashable, Any, Any]]
    run: Callable[[list[Any]], Sequence[Any]]
    finish: Callable[[Any, Any], Any]


@dataclass(eq=False)
class _Job:
    task: Task
    future: Future = field(default_factory=Future)
    key: Hashable = None
    inputs: Any = None
    context: Any = None


class Batcher:
    """Runs tasks with one model.

    Args:
        capacity: Largest number of accepted tasks that are not done. Further tasks are refused.
        max_batch: Largest number of tasks in a batch.
        wait: Seconds that a task may wait for others of its batch, while more tasks are being prepared.
        threads: Number of threads for `prepare`, and the same number for `finish`.
        observe: Function that is called after each batch with its number of tasks and its time in seconds.
            Defaults to None.

    Attributes:
        capacity: As above.
    """

    def __init__(
        self,
        *,
        capacity: int,
        max_batch: int,
        wait: float,
        threads: int,
        observe: Callable[[int, float], None] | None = None,
    ):
        self.capacity, self._max_batch, self._wait = capacity, max_batch, wait
        self._observe = observe or (lambda tasks, seconds: None)
        self._ready = collections.deque()
        self._changed = threading.Condition()
        self._unfinished = self._unprepared = 0
        self._seconds = 0.0  # time per task, a moving average
        self._closed = self._drained = False
        self._preparers = ThreadPoolExecutor(threads, "prepare")
        self._finishers = ThreadPoolExecutor(threads, "finish")
        self._worker = threading.Thread(target=self._run_batches, name="model", daemon=True)
        self._worker.start()

    @property
    def unfinished(self) -> int:
        """Number of accepted tasks that are not done."""
        return self._unfinished

    def submit(self, tasks: Sequence[Task]) -> list[Future]:
        """Accepts all tasks, or none of them.

        Args:
            tasks: The tasks, one for each image of a request.

        Returns:
            List of `concurrent.futures.Future`, one for each task. A task is skipped if its future is
            cancelled.

        Raises:
            RequestError: Status 400 if there are more tasks than `capacity`, 429 if the queue is full now, or
                503 if the batcher is closed.
        """
        if len(tasks) > self.capacity:
            raise RequestError(
                400,
                f"Expected at most {self.capacity} images in a request, the limit of --queue. "
                f"Received: {len(tasks)}. Send several requests.",
            )
        with self._changed:
            if self._closed:
                raise RequestError(503, "The model is being unloaded. Try again.", retry_after=1)
            if self._unfinished + len(tasks) > self.capacity:
                seconds = max(1, round(self._unfinished * self._seconds))
                raise RequestError(
                    429, f"{self._unfinished} images are waiting. Try again later.", retry_after=seconds
                )
            self._unfinished += len(tasks)
            self._unprepared += len(tasks)
            jobs = [_Job(task) for task in tasks]
            for job in jobs:
                self._preparers.submit(self._prepare, job)
        return [job.future for job in jobs]

    def close(self) -> None:
        """Waits until all accepted tasks are done, and ends the threads."""
        with self._changed:
            self._closed = True
        self._preparers.shutdown()
        with self._changed:
            self._drained = True
            self._changed.notify_all()
        self._worker.join()
        self._finishers.shutdown()

    def _prepare(self, job: _Job) -> None:
        with self._changed:  # limits the number of decoded images in memory
            limit = AHEAD_BATCHES * self._max_batch
            self._changed.wait_for(lambda: len(self._ready) < limit)
        error = None
        if not job.future.cancelled():
            try:
                key, job.inputs, job.context = job.task.prepare()
                job.key = None if key is None else (job.task.run, key)
            except Exception as exception:
                error = exception
        is_ready = not (error or job.future.cancelled())
        with self._changed:
            self._unprepared -= 1
            if is_ready:
                self._ready.append(job)
            self._changed.notify_all()
        if not is_ready:
            self._end(job, error=error)

    def _run_batches(self) -> None:
        while batch := self._next_batch():
            active = [job for job in batch if not job.future.cancelled()]
            for job in batch:
                if job not in active:
                    self._end(job)
            if active:
                self._run(active)

    def _next_batch(self) -> list[_Job]:
        """Returns a list of jobs that share a batch, or an empty list after the last job."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._drained)
            if not self._ready:
                return []
            batch = [self._ready.popleft()]
            deadline = time.monotonic() + self._wait
            while batch[0].key is not None and len(batch) < self._max_batch:
                candidates = [job for job in self._ready if job.key == batch[0].key]
                for job in candidates[: self._max_batch - len(batch)]:
                    self._ready.remove(job)
                    batch.append(job)
                remaining = deadline - time.monotonic()
                if len(batch) == self._max_batch or not self._unprepared or remaining <= 0:
                    break
                self._changed.notify_all()
                self._changed.wait(remaining)
            self._changed.notify_all()
            return batch

    def _run(self, batch: list[_Job]) -> None:
        start = time.monotonic()
        try:
            outputs = batch[0].task.run([job.inputs for job in batch])
        except Exception as error:
            if len(batch) == 1:
                self._end(batch[0], error=error)
                return
            logging.warning(
                "A batch of %d images failed (%s). They are run one by one.", len(batch), short_message(error)
            )
            for job in batch:
                self._run([job])
            return
        seconds = time.monotonic() - start
        self._observe(len(batch), seconds)
        self._seconds += 0.1 * (seconds / len(batch) - self._seconds)
        for job, job_outputs in zip(batch, outputs, strict=True):
            job.inputs = None
            self._finishers.submit(self._finish, job, job_outputs)

    def _finish(self, job: _Job, outputs: Any) -> None:
        try:
            self._end(job, result=job.task.finish(outputs, job.context))
        except Exception as error:
            self._end(job, error=error)

    def _end(self, job: _Job, result: Any = None, error: Exception | None = None) -> None:
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()
        if not job.future.set_running_or_notify_cancel():
            return
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
