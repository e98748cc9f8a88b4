"""Settings of a cluster process that must be made before it loads a model."""

from mask_rcnn.system.memory import keep_freed_memory


def prepare_process(num_cpus: float | None = None) -> None:
    """Sets TensorFlow's number of threads per op, and keeps freed memory if there is no GPU.

    Call it before TensorFlow runs its first op.

    Args:
        num_cpus: Number of CPUs that the process may use. Fractions are rounded down, to at least 1. Defaults
            to None, which leaves the number of threads unchanged.
    """
    import tensorflow as tf

    if num_cpus:
        tf.config.threading.set_intra_op_parallelism_threads(max(int(num_cpus), 1))
    if not tf.config.list_physical_devices("GPU"):
        keep_freed_memory()
