"""Models for other runtimes: written, run once in a fresh interpreter of their own, compared, then kept.

A format is a writer, a function that makes the file, and a runner, a file of its own that runs it. All
runners look alike, `Runner(path, threads)`, and say the same: the outputs of the TensorFlow Object Detection
API for one image, without the batch (the table is in `outputs.py`).
"""
