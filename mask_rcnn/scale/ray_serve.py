"""Ray Serve: the service of `mask-rcnn serve` in as many replicas as a cluster has room for.

    serve run mask_rcnn.scale.ray_serve:app models=fruits=models/fruits replicas=2 cpus=4

Urls, requests, answers and limits are those of `mask-rcnn serve`. Each replica has its own models and its own
queue, which batches images of one padded shape; Ray's `@serve.batch` would mix shapes. Ray distributes the
requests, starts a replica again that was lost, and adds and removes replicas by load.
"""

import functools
import os
import threading
from dataclasses import fields, replace

from mask_rcnn.scale.processes import prepare_process
from mask_rcnn.serving.options import TOKEN_VARIABLE, Options
from mask_rcnn.serving.sources import check_sources, parse_source

MAX_STARTS = 3  # of a replica whose models cannot be loaded
LIMITS = {field.name: field.type for field in fields(Options) if field.name != "token"}


def app(arguments):
    """Returns a Ray Serve application, for `serve run` and for `import_path` of a config file.

    The token that clients must send is `$MASK_RCNN_TOKEN` where this is called.

    Args:
        arguments: Dict of values, or of their texts:

            - `models`: List, or text with spaces between: weights, SavedModel folders, .tflite or .onnx
              files, or folders with numbered versions of them; NAME=PATH gives a name. All machines must see
              them.
            - `replicas`: Number of replicas, or "auto", which follows the load. Defaults to 1.
            - `cpus`, `gpus`: Of each replica. Defaults to 1 and 0.
            - `precision`: Of weights, as in `Predictor.load`. Defaults to "float32".
            - Names of fields of `serving.options.Options`, such as `max_pixels` and `timeout`.

    Raises:
        ValueError: An argument is unknown or missing, or no model is where it should be.
    """
    rest = {"replicas": 1, "cpus": 1, "gpus": 0, "precision": "float32", **arguments}
    sources = _sources(rest.pop("models", ()))
    replicas, cpus, gpus = rest.pop("replicas"), float(rest.pop("cpus")), float(rest.pop("gpus"))
    load = functools.partial(_load, precision=rest.pop("precision"))
    options = _options(rest)
    from ray import serve  # an extra

    def build():
        return _ready_app(sources, load, options, cpus)

    deployment = serve.deployment(
        serve.ingress(build)(),
        name="mask-rcnn",
        num_replicas=replicas if replicas == "auto" else int(replicas),
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
        max_ongoing_requests=2 * options.queue,  # the service itself refuses what is too much, with 429
        graceful_shutdown_timeout_s=options.timeout,
        max_constructor_retry_count=MAX_STARTS,
    )
    return deployment.bind()


def _sources(models):
    """Returns the `Source`s of texts, with paths that do not depend on the working folder."""
    sources = [parse_source(text) for text in (models.split() if isinstance(models, str) else models)]
    if not sources:
        raise ValueError("Ray Serve needs models. Received: none. Give models=NAME=PATH.")
    sources = [replace(source, path=source.path.absolute()) for source in sources]
    for source in sources:
        if not source.path.exists():
            raise FileNotFoundError(
                f"Expected a model. Received: {str(source.path)!r}, which does not exist. Check the path."
            )
    check_sources(sources)
    return sources


def _options(arguments):
    """Returns the `Options` of arguments, whose values may be texts."""
    unknown = sorted(set(arguments) - set(LIMITS))
    if unknown:
        known = ", ".join(["models", "replicas", "cpus", "gpus", "precision", *LIMITS])
        raise ValueError(f"Expected the arguments {known}. Received: {', '.join(unknown)}. Correct the name.")
    floats = {name for name, kind in LIMITS.items() if kind is float}
    values = {name: float(value) if name in floats else int(value) for name, value in arguments.items()}
    return Options(token=os.environ.get(TOKEN_VARIABLE), **values)


def _load(path, precision):
    from mask_rcnn.serving.loading import load_model  # imports TensorFlow

    return load_model(path, precision)


def _ready_app(sources, load, options, num_cpus):
    """Returns the ASGI application when its models are loaded: Ray sends requests from then on."""
    from mask_rcnn.serving.server import make_service

    prepare_process(num_cpus)
    service, repository = make_service(sources, load, options)
    loaded = threading.Event()
    repository.start(loaded.set)
    loaded.wait()
    if repository.failure is not None:
        raise repository.failure
    answer = service.app()

    async def asgi(scope, receive, send):  # Ray's uvicorn takes a callable that is no coroutine for ASGI 2
        await answer(scope, receive, send)

    return asgi
