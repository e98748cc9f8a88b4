"""What a process of a cluster sets before it loads a model."""

from mask_rcnn.memory import keep_freed_memory


def prepare_process(num_cpus=None):
    """Lets an op of TensorFlow use so many threads, and keeps freed memory where the CPU computes.

    Call it before TensorFlow computes anything.

    Args:
        num_cpus: That the process may use; a fraction counts as one. Defaults to None, all of the machine.
    """
    import tensorflow as tf

    if num_cpus:
        tf.config.threading.set_intra_op_parallelism_threads(max(int(num_cpus), 1))
    if not tf.config.list_physical_devices("GPU"):
        keep_freed_memory()
