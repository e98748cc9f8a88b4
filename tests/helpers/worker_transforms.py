"""Transforms for the tests of worker processes, in a file that does not import TensorFlow."""

import multiprocessing
import os
import signal
import sys

import numpy as np


def tell_process(sample, rng):
    """A transform that writes facts about its process into the pixels."""
    is_worker = multiprocessing.parent_process() is not None
    facts = ("tensorflow" in sys.modules, os.environ.get("CUDA_VISIBLE_DEVICES") == "-1", is_worker)
    sample.image[:] = np.array(facts, "uint8")
    return sample


def kill_itself(sample, rng):
    os.kill(os.getpid(), signal.SIGKILL)
    return sample
