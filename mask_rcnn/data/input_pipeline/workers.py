"""Loads examples ahead of training, in order, in threads or in processes with shared memory."""

import contextlib
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, shared_memory
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mask_rcnn.system.parallel import default_threads

SHARED_MEMORY = Path("/dev/shm")  # on Linux; it may be small in a container
_WORKER = {}  # state of a worker process between calls: `load`, `memory` and `slot_bytes`


@contextlib.contextmanager
def worker_pool(
    load: Callable[..., Any], workers: int, *, slots: int, slot_bytes: int
) -> Iterator[Callable[..., "Future | _Shared"]]:
    """Yields a function that submits a call of `load` and returns its future.

    Args:
        load: Function of a record, a seed and other records. It returns a dict with `image`, or an object of
            another type for a failure. It must be picklable for worker processes.
        workers: Number of processes. 0 uses threads of this process.
        slots: Number of images that are held at the same time.
        slot_bytes: Size of the largest expected image, in bytes. A larger image is copied through a pipe.

    Yields:
        `submit(record, seed, others, *, slot)`. The image of a future is valid until its slot is used again.
    """
    if not workers:
        with ThreadPoolExecutor(default_threads(), "training_data") as pool, _cancelled(pool):
            yield lambda record, seed, others, *, slot: pool.submit(load, record, seed, others)
        return
    _check_picklable(load)
    with _shared(slots * slot_bytes) as memory:
        context = multiprocessing.get_context("spawn")  # a fork would copy the state of TensorFlow's locks
        arguments = (load, memory and memory.name, slot_bytes)
        with ProcessPoolExecutor(workers, context, _start_worker, arguments) as pool, _cancelled(pool):

            def submit(record, seed, others, *, slot):
                return _Shared(pool.submit(_work, record, seed, others, slot=slot), memory)

            yield submit


class _Shared:
    """A future whose image is in shared memory."""

    def __init__(self, future, memory):
        self.future, self.memory = future, memory

    def result(self) -> Any:
        try:
            result = self.future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "The worker processes of the training data must stay alive. Received: one was killed, by a "
                "signal or for lack of memory. Lower `data.workers` or `train.batch_size`, then continue "
                "with `--resume`. A script that trains with workers needs `if __name__ == '__main__':`."
            ) from error
        if isinstance(result, dict) and isinstance(result["image"], tuple):
            shape, dtype, offset = result["image"]
            result["image"] = np.ndarray(shape, dtype, self.memory.buf, offset)
        return result


def _start_worker(load, memory_name, slot_bytes):
    """Initializes a worker process."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the GPUs belong to the training process
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):  # only the training process reacts to these signals
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    memory = memory_name and shared_memory.SharedMemory(memory_name)
    _WORKER.update(load=load, memory=memory, slot_bytes=slot_bytes)


def _end_with_parent():
    parent = multiprocessing.parent_process()
    if parent is not None:  # always, in a worker process
        connection.wait([parent.sentinel])
    os._exit(0)


def _work(record, seed, others, *, slot):
    """Calls `load` in a worker process and copies the image into its slot if it fits."""
    result = _WORKER["load"](record, seed, others)
    memory, slot_bytes = _WORKER["memory"], _WORKER["slot_bytes"]
    if isinstance(result, dict) and memory and result["image"].nbytes <= slot_bytes:
        image, offset = result["image"], slot * slot_bytes
        np.ndarray(image.shape, image.dtype, memory.buf, offset)[:] = image
        result["image"] = image.shape, image.dtype.str, offset
    return result


@contextlib.contextmanager
def _shared(num_bytes):
    """Yields shared memory, or None if the system has too little. Memory is only allocated when written."""
    if SHARED_MEMORY.exists() and shutil.disk_usage(SHARED_MEMORY).free < num_bytes:
        yield None
        return
    memory = shared_memory.SharedMemory(create=True, size=math.ceil(num_bytes))
    try:
        yield memory
    finally:
        memory.unlink()
        with contextlib.suppress(BufferError):  # an image of an interrupted batch still refers to it
            memory.close()


@contextlib.contextmanager
def _cancelled(pool):
    """Context manager that cancels the calls that have not started when the block ends."""
    try:
        yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_picklable(load):
    try:
        pickle.dumps(load)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "Worker processes need transforms that can be pickled: functions of a module. "
            f"Received: {error}. Define them at the top level of a file, or set `data.workers` to 0."
        ) from error
