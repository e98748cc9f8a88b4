"""The URLs of a server, as a Starlette application."""

import asyncio
import functools
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from absl import logging
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from mask_rcnn.errors import is_out_of_memory, short_message
from mask_rcnn.serving import tensorflow_rest
from mask_rcnn.serving.batcher import Task
from mask_rcnn.serving.detection_reply import detection_reply, parse_query, parse_version
from mask_rcnn.serving.metrics import Metrics
from mask_rcnn.serving.openapi import describe_api
from mask_rcnn.serving.options import Options
from mask_rcnn.serving.repository import Repository, Version
from mask_rcnn.serving.request_body import read_body, read_image_file
from mask_rcnn.serving.request_error import RequestError
from mask_rcnn.shipped_files import shipped_folder

CLIENT_CLOSED_REQUEST = 499  # status in the metrics if the client disconnects before the reply, as in nginx
OPEN_PATHS = ("/", "/healthz")  # paths that need no token, besides the files of the page under STATIC
PAGE = "export/web"  # folder of the web page
STATIC = "/static"


class Service:
    """Handles HTTP requests with the models of a repository.

    Args:
        repository: Models of the server.
        options: Limits of the server.
        metrics: Metrics that the requests update.

    Attributes:
        is_stopping: Bool, whether new requests are refused.
    """

    def __init__(self, repository: Repository, options: Options, metrics: Metrics):
        self._repository, self._options, self._metrics = repository, options, metrics
        # One thread, because the parsed lists of numbers take ten times the memory of their text.
        self._parser = ThreadPoolExecutor(1, "parse")
        self.is_stopping = False

    def app(self) -> ASGIApp:
        """Returns the ASGI application."""
        model, version = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
        routes = [
            Route("/", self.page),
            Route("/detect", self.detect, methods=["POST"]),
            Route("/models", self.models),
            Route("/healthz", self.health),
            Route("/metrics", self.numbers),
            Route("/openapi.json", self.description),
            Mount(STATIC, StaticFiles(directory=shipped_folder(PAGE))),
        ]
        for path in (version, model):
            routes += [
                Route(f"{path}:predict", self.predict, methods=["POST"]),
                Route(f"{path}/metadata", self.metadata),
                Route(path, self.status),
            ]
        # Any: Starlette's type of handlers does not allow a narrower type of exception.
        handlers: dict[Any, Any] = {
            RequestError: _error_reply,
            HTTPException: _http_error_reply,
            Exception: _internal_error_reply,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return functools.partial(self._guarded, app)

    async def _guarded(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Checks the token, refuses requests during shutdown, and counts all requests."""
        if scope["type"] != "http":
            return
        start, status = time.monotonic(), 500

        async def counting_send(message):
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            early_reply = self._early_reply(scope)
            await (early_reply or app)(scope, receive, counting_send)
        finally:
            endpoint = getattr(scope.get("endpoint"), "__name__", "other")
            self._metrics.requests.labels(endpoint, str(status)).inc()
            self._metrics.seconds.labels(endpoint).observe(time.monotonic() - start)

    def _early_reply(self, scope: Scope) -> Response | None:
        """Returns the reply to a request that is refused before routing, or None."""
        path = scope["path"]
        if self.is_stopping:
            return _error(503, "The server is shutting down.", {"Retry-After": "5"})
        if self._options.token is None or path in OPEN_PATHS or path.startswith(f"{STATIC}/"):
            return None
        received = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(received, f"Bearer {self._options.token}".encode("ascii")):
            return None
        text = "Expected the header `Authorization: Bearer TOKEN` with the token of this server."
        return _error(401, text, {"WWW-Authenticate": "Bearer"})

    async def page(self, request: Request) -> Response:
        """Replies to `GET /` with the web page."""
        return FileResponse(shipped_folder(PAGE) / "index.html")

    async def health(self, request: Request) -> Response:
        """Replies to `GET /healthz`: status 200 if all models are loaded, else 503."""
        if self._repository.is_ready:
            return JSONResponse({"status": "ok"})
        return _error(503, "The models are being loaded.", {"Retry-After": "5"})

    async def numbers(self, request: Request) -> Response:
        """Replies to `GET /metrics` with the metrics for Prometheus."""
        for name in self._repository.names:
            self._metrics.waiting.labels(name).set(self._repository.waiting(name))
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def description(self, request: Request) -> Response:
        """Replies to `GET /openapi.json` with the description of the API."""
        return JSONResponse(describe_api(self._options))

    async def models(self, request: Request) -> Response:
        """Replies to `GET /models` with the available models and their classes."""
        entries = []
        for name in self._repository.names:
            if versions := self._repository.available(name):
                numbers = [str(version.number) for version in versions]
                with self._repository.acquire(name) as newest:
                    entries.append({"name": name, "versions": numbers, **newest.model.describe()})
        return JSONResponse({"models": entries})

    async def status(self, request: Request) -> Response:
        """Replies to `GET /v1/models/NAME` with the states of its versions."""
        name, number = _model_of(request)
        return JSONResponse(tensorflow_rest.status(self._repository.states(name, number)))

    async def metadata(self, request: Request) -> Response:
        """Replies to `GET /v1/models/NAME/metadata` with the signatures."""
        with self._repository.acquire(*_model_of(request)) as version:
            signatures = version.model.signatures
            return JSONResponse(tensorflow_rest.metadata(version.name, version.number, signatures))

    async def predict(self, request: Request) -> Response:
        """Replies to `POST /v1/models/NAME:predict` with the outputs of a signature."""
        body = await read_body(request, self._options)
        with self._repository.acquire(*_model_of(request)) as version:
            model, loop = version.model, asyncio.get_running_loop()
            parse = functools.partial(tensorflow_rest.parse_predict, body, model.signatures)
            call = await loop.run_in_executor(self._parser, parse)
            tasks = [model.signature_task(call.signature, row, self._options.max_pixels) for row in call.rows]
            results = await self._run(version, tasks, request, call.location)
            content = await run_in_threadpool(tensorflow_rest.encode_predict, results, call)
        return Response(content, media_type="application/json")

    async def detect(self, request: Request) -> Response:
        """Replies to `POST /detect` with the detections in an image file."""
        query = parse_query(request.query_params.multi_items())
        contents = await read_image_file(request, self._options)
        start = time.monotonic()
        with self._repository.acquire(query.model or self._only_model(), query.version) as version:
            categories = version.model.categories
            if query.picture and not version.model.predictor.config.input.is_rgb8:
                raise RequestError(400, "Expected a model of 8-bit RGB for a drawn image. Omit `picture`.")
            finish = functools.partial(
                detection_reply, version=version, query=query, categories=categories, start=start
            )
            task = version.model.detection_task(
                contents,
                max_pixels=self._options.max_pixels,
                finish=finish,
                score=query.score,
                keep_image=bool(query.picture),
            )
            ((media_type, content),) = await self._run(version, [task], request)
        return Response(content, media_type=media_type)

    def _only_model(self) -> str:
        names = self._repository.names
        if len(names) != 1:
            raise RequestError(400, f"Expected ?model=NAME. This server has: {', '.join(names)}.")
        (name,) = names
        return name

    async def _run(
        self,
        version: Version,
        tasks: Sequence[Task],
        request: Request,
        location: Callable[[int], str] | None = None,
    ) -> list[Any]:
        """Returns the results of tasks.

        It cancels the tasks and raises a `RequestError` after the time limit, or if the client disconnects.
        """
        futures = version.batcher.submit(tasks)
        results = asyncio.ensure_future(_results(futures, location))
        disconnected = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait(
                {results, disconnected},
                timeout=self._options.timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if results.done():
                return results.result()
            if disconnected.done():
                raise RequestError(CLIENT_CLOSED_REQUEST, "The client disconnected before the reply.")
            raise RequestError(504, f"No reply within {self._options.timeout:g} seconds.", retry_after=1)
        finally:
            for future in futures:
                future.cancel()
            disconnected.cancel()
            results.cancel()


async def _results(futures: Sequence[Future], location: Callable[[int], str] | None) -> list[Any]:
    """Returns the results of a list of `concurrent.futures.Future`.

    If a task raises a `RequestError`, its message is prefixed with `location(index)`, the location of the
    value in the request.
    """
    results = []
    for index, future in enumerate(futures):
        try:
            results.append(await asyncio.wrap_future(future))
        except RequestError as error:
            if location:
                error.args = (f"{location(index)}: {error}",)
            raise
    return results


async def _disconnected(request: Request) -> None:
    """Returns when the client disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _model_of(request: Request) -> tuple[str, int | None]:
    """Returns the name of the model and the version number, or None, from a URL."""
    version = request.path_params.get("version")
    return request.path_params["name"], None if version is None else parse_version(version)


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)


async def _error_reply(request: Request, error: RequestError) -> JSONResponse:
    return _error(error.status, str(error), error.headers)


async def _http_error_reply(request: Request, error: HTTPException) -> JSONResponse:
    return _error(error.status_code, error.detail, error.headers)


async def _internal_error_reply(request: Request, error: Exception) -> JSONResponse:
    """Replies to an unexpected error with status 500, or 503 without enough memory.

    Starlette raises the error again after this handler, so that it is logged.
    """
    if is_out_of_memory(error):
        return _error(503, "Not enough memory. Send a smaller image, or try again.", {"Retry-After": "5"})
    logging.error("%s %s failed: %s", request.method, request.url.path, short_message(error))
    return _error(500, f"The server failed: {type(error).__name__}. See its log.")
