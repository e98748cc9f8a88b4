"""Runs the service of `mask-rcnn serve` on Ray Serve, in several replicas on a cluster.

    serve run mask_rcnn.scale.ray_serve:app models=fruits=models/fruits replicas=2 cpus=4

URLs, requests, replies and limits are those of `mask-rcnn serve`. Each replica has its own models and its own
queue, which batches images of the same padded shape. Ray's `@serve.batch` would mix shapes. Ray distributes
the requests, restarts replicas that die, and adds and removes replicas with the load.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_rcnn.scale.processes import prepare_process
from mask_rcnn.serving.options import TOKEN_VARIABLE, Options
from mask_rcnn.serving.sources import Source, check_sources, parse_source
from mask_rcnn.system.parallel import require_ray

if TYPE_CHECKING:
    from mask_rcnn.serving.served_model import ServedModel

MAX_STARTS = 3  # attempts to start a replica whose models cannot be loaded
LIMITS = {field.name: field.type for field in fields(Options) if field.name != "token"}


def app(arguments: dict[str, Any]) -> Any:
    """Returns a Ray Serve application, for `serve run` and for `import_path` in a config file.

    Clients must send the token that is in `$MASK_RCNN_TOKEN` when this function is called.

    Args:
        arguments: Dict of these values, or of their text:

            - `models`: List, or text separated by spaces, of weights files, SavedModel folders, .tflite or
              .onnx files, or folders with numbered versions of them. NAME=PATH sets the name. All machines
              must have them under the same path.
            - `replicas`: Number of replicas, or "auto" to follow the load. Defaults to 1.
            - `cpus`, `gpus`: Number per replica. Defaults to 1 and 0.
            - `precision`: Dtype policy for weights files, as in `Predictor.load`. Defaults to "float32".
            - Names of fields of `serving.options.Options`, such as `max_pixels` and `timeout`.

    Raises:
        ValueError: An argument is unknown or missing, or a folder has no model.
        FileNotFoundError: The path of a model does not exist.
    """
    values = {"replicas": 1, "cpus": 1, "gpus": 0, "precision": "float32", **arguments}
    sources = _sources(values.pop("models", ()))
    replicas, cpus, gpus = values.pop("replicas"), float(values.pop("cpus")), float(values.pop("gpus"))
    load = functools.partial(_load, precision=values.pop("precision"))
    options = _options(values)
    require_ray()
    from ray import serve  # optional package

    def build():
        return _ready_app(sources, load, options, num_cpus=cpus)

    deployment = serve.deployment(
        serve.ingress(build)(),
        name="mask-rcnn",
        num_replicas=replicas if replicas == "auto" else int(replicas),
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
        max_ongoing_requests=2 * options.queue,  # the service itself refuses requests over `queue` with 429
        graceful_shutdown_timeout_s=options.timeout,
        max_constructor_retry_count=MAX_STARTS,
    )
    return deployment.bind()


def _sources(models: str | Sequence[str]) -> list[Source]:
    """Returns the `Source`s of the models, with absolute paths."""
    sources = [parse_source(text) for text in (models.split() if isinstance(models, str) else models)]
    if not sources:
        raise ValueError("Ray Serve needs models. Received: none. Add models=NAME=PATH.")
    sources = [replace(source, path=source.path.absolute()) for source in sources]
    for source in sources:
        if not source.path.exists():
            raise FileNotFoundError(
                f"Expected a model. Received: {str(source.path)!r}, which does not exist. Check the path."
            )
    check_sources(sources)
    return sources


def _options(arguments: Mapping[str, Any]) -> Options:
    """Returns the `Options` of the arguments, whose values may be text."""
    unknown = sorted(set(arguments) - set(LIMITS))
    if unknown:
        known = ", ".join(["models", "replicas", "cpus", "gpus", "precision", *LIMITS])
        raise ValueError(f"Expected the arguments {known}. Received: {', '.join(unknown)}. Correct the name.")
    floats = {name for name, type_ in LIMITS.items() if type_ is float}
    values: dict[str, Any] = {
        name: float(value) if name in floats else int(value) for name, value in arguments.items()
    }
    return Options(token=os.environ.get(TOKEN_VARIABLE), **values)


def _load(path: Path, precision: str) -> ServedModel:
    from mask_rcnn.serving.loading import load_model  # imports TensorFlow

    return load_model(path, precision)


def _ready_app(
    sources: Sequence[Source], load: Callable[[Path], ServedModel], options: Options, *, num_cpus: float
) -> Callable[..., Awaitable[None]]:
    """Returns the ASGI application after its models are loaded. Ray sends requests only then."""
    from mask_rcnn.serving.server import make_service

    prepare_process(num_cpus)
    service, repository = make_service(sources, load, options)
    loaded = threading.Event()
    repository.start(loaded.set)
    loaded.wait()
    if repository.failure is not None:
        raise repository.failure
    app = service.app()

    async def asgi(scope, receive, send):  # Ray's uvicorn treats other callables as ASGI 2
        await app(scope, receive, send)

    return asgi
