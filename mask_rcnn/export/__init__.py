"""Exports models to other runtimes, checks each exported model, and runs it.

A new model is run once in a separate Python process and compared with the Keras model. It replaces an older
export only if the check succeeds.

Each format has a writer, a function that writes the file, and a runner, a separate file that runs it. All
runners have the same interface, `Runner(path, threads)`. They return the outputs of the TensorFlow Object
Detection API for one image, without the batch axis. `outputs.py` has the table.
"""
