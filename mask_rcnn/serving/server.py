"""Runs a server, from binding its socket to its last reply."""

import asyncio
import functools
import json
import math
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mask_rcnn.serving.app import Service
from mask_rcnn.serving.batcher import Batcher
from mask_rcnn.serving.metrics import Metrics
from mask_rcnn.serving.options import Options
from mask_rcnn.serving.repository import Repository
from mask_rcnn.serving.served_model import ServedModel
from mask_rcnn.serving.sources import Source
from mask_rcnn.system.terminal import print_line

BACKLOG = 2048  # connections that the system queues before the server accepts them
KEEP_ALIVE = 15  # seconds that an idle connection stays open
GRACE = 5  # seconds after the time limit of requests, in which clients can read their replies


class Protocol(H11Protocol):
    """HTTP/1.1 with JSON errors. Closes a connection if the head of a request does not arrive in time.

    Attributes:
        head_timeout: Float, time limit in seconds.
    """

    head_timeout = 30.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._arm()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("Content-Type", "application/json"), ("Connection", "close")]
            body = json.dumps({"error": msg}).encode("ascii")
            for event in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def _arm(self) -> None:
        """Starts the time limit for the head of the next request."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.head_timeout, self._check_head)

    def _check_head(self) -> None:
        """Closes the connection if no request is being answered."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _Server(uvicorn.Server):
    """A uvicorn server that sets `is_stopping` of the service when it begins to shut down."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.is_stopping = True
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket that listens at an address.

    Args:
        host: IPv4 or IPv6 address, or host name.
        port: Port number. 0 is any free port.

    Raises:
        OSError: The address is in use, or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)  # requests wait from now on, also if "Ready" is printed before uvicorn runs
    except OSError as error:
        listener.close()
        raise OSError(
            f"Expected a free address of this machine. Received: {host}:{port} ({error.strerror}). "
            "Choose another --port or --host, or stop the other server."
        ) from error
    return listener


def make_service(
    sources: Sequence[Source], load: Callable[[Path], ServedModel], options: Options
) -> tuple[Service, Repository]:
    """Returns a `Service`, and its `Repository`, which is not started.

    Args:
        sources, load: As in `Repository`.
        options: Limits of the server.
    """
    metrics = Metrics()

    def make_batcher(name: str, model: ServedModel) -> Batcher:
        return Batcher(
            capacity=options.queue,
            max_batch=options.max_batch or model.predictor.default_batch_size(),
            wait=options.batch_wait / 1000,
            threads=options.threads,
            observe=functools.partial(metrics.observe_batch, name),
        )

    repository = Repository(sources, load, make_batcher=make_batcher, options=options)
    return Service(repository, options, metrics), repository


def make_server(
    sources: Sequence[Source],
    load: Callable[[Path], ServedModel],
    options: Options,
    *,
    on_ready: Callable[[], None] | None = None,
) -> tuple[uvicorn.Server, Repository]:
    """Returns a uvicorn server, and its `Repository`, which has started to load.

    Args:
        sources, load: As in `Repository`.
        options: Limits of the server.
        on_ready: Function without arguments that is called when all models are loaded. Defaults to None.
    """
    service, repository = make_service(sources, load, options)
    config = uvicorn.Config(
        service.app(),
        http=type("Protocol", (Protocol,), {"head_timeout": options.body_timeout}),
        interface="asgi3",
        ws="none",
        proxy_headers=False,
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(options.timeout) + GRACE,
    )
    server = _Server(config, service)

    def ready_or_failed() -> None:
        if repository.failure is not None:
            server.should_exit = True
        elif on_ready is not None:
            on_ready()

    repository.start(ready_or_failed)
    return server, repository


def serve(
    sources: Sequence[Source], load: Callable[[Path], ServedModel], options: Options, *, host: str, port: int
) -> None:
    """Serves models until a signal. SIGTERM and Ctrl-C wait until the accepted requests are done.

    Args:
        sources: The models on disk.
        load: Function of a path that returns a `ServedModel`, after a first run.
        options: Limits of the server.
        host, port: Address to bind, as in `bind`.

    Raises:
        Exception: A model could not be loaded at the start.
        KeyboardInterrupt, SystemExit: After a signal.
    """
    listener = bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    print_line(f"Loading {', '.join(source.name for source in sources)} ...")
    server, repository = make_server(sources, load, options, on_ready=lambda: print_line(f"Ready: {url}"))
    try:
        server.run([listener])
    finally:
        repository.close()
    if repository.failure is not None:
        raise repository.failure
