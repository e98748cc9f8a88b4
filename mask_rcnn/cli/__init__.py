"""The command `mask-rcnn`. Each command has a file with `add_parser(commands)` and `run(args)`.

No file imports TensorFlow before a command runs, so that `--help` is fast.
"""
