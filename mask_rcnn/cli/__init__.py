"""The command `mask-rcnn`: one file a command, each with `add_parser(commands)` and `run(args)`.

Nothing here imports TensorFlow before a command runs, so that `--help` answers at once.
"""
