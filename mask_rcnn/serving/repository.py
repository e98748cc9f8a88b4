"""Loads the versions of models, replaces them, and unloads them when their requests have ended."""

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from absl import logging

from mask_rcnn.errors import short_message
from mask_rcnn.serving.batcher import Batcher
from mask_rcnn.serving.options import Options
from mask_rcnn.serving.request_error import RequestError
from mask_rcnn.serving.served_model import ServedModel
from mask_rcnn.serving.sources import Source, fingerprint
from mask_rcnn.system.terminal import print_line

# States of TensorFlow Serving's `ModelVersionStatus`.
LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"
SECONDS_TO_LOAD = 5  # Retry-After for requests to a model that is being loaded


class LoadedModel(NamedTuple):
    """A loaded model, and the queue of its tasks."""

    model: ServedModel
    batcher: Batcher


@dataclass(eq=False, kw_only=True)
class Version:
    """One version of a model.

    Args:
        name: Name of the model.
        number: Version number.
        path: Its file or folder.
        files: `fingerprint` of the path when it was loaded.
        state: LOADING, AVAILABLE, UNLOADING or END. Defaults to LOADING.
        error: Message of the error why it could not be loaded. Defaults to None.
        loaded: Its model and batcher while it is loaded, else None. Defaults to None.
        num_requests: Number of requests that use it. Defaults to 0.
    """

    name: str
    number: int
    path: Path
    files: tuple[tuple[str, int, int], ...]
    state: str = LOADING
    error: str | None = None
    loaded: LoadedModel | None = None
    num_requests: int = 0

    @property
    def model(self) -> ServedModel:
        """The loaded model."""
        return self._get_loaded().model

    @property
    def batcher(self) -> Batcher:
        """The queue of the loaded model."""
        return self._get_loaded().batcher

    def _get_loaded(self) -> LoadedModel:
        if self.loaded is None:
            raise RuntimeError(
                f"Expected a loaded version. Received: {self.name} {self.number} ({self.state})."
            )
        return self.loaded


@dataclass
class _Entry:
    source: Source
    versions: dict[int, Version] = field(default_factory=dict)


class Repository:
    """Loads versions of models in a separate thread, and provides them to requests.

    It serves the newest versions in each folder. If a version cannot be loaded, its state has the error, and
    it is loaded again when its files change. Loaded versions stay. A version is unloaded when it was deleted
    or is no longer among the newest, and one of the newest is available.

    Args:
        sources: The models on disk.
        load: Function of a path that returns a `ServedModel`, after a first run.
        make_batcher: Function of the name of a model and its `ServedModel` that returns its `Batcher`.
        options: Limits of the server.

    Attributes:
        names: Tuple of the model names.
        is_ready: Bool, whether all models have been loaded at the start.
        failure: The error of a model that could not be loaded at the start, or None.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        load: Callable[[Path], ServedModel],
        *,
        make_batcher: Callable[[str, ServedModel], Batcher],
        options: Options,
    ):
        self._entries = {source.name: _Entry(source) for source in sources}
        self._load_model, self._make_batcher, self._options = load, make_batcher, options
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="repository", daemon=True)
        self.failure: Exception | None = None
        self.is_ready = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self._entries)

    def start(self, on_ready: Callable[[], None] | None = None) -> None:
        """Starts to load the models in a separate thread.

        Args:
            on_ready: Function without arguments that this thread calls when all models are loaded or one has
                failed. Defaults to None.
        """
        self._on_ready = on_ready or (lambda: None)
        self._thread.start()

    def close(self) -> None:
        """Stops checking for new versions, and unloads all versions when their requests have ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for version in self._available():
            self._retire(version)

    @contextlib.contextmanager
    def acquire(self, name: str, number: int | None = None) -> Iterator[Version]:
        """Returns a context manager with an available `Version`, which stays loaded inside the context.

        Args:
            name: Name of the model.
            number: Int, version number. Defaults to None, the newest.

        Raises:
            RequestError: Status 404 if there is no such version; 503 if it is being loaded.
        """
        with self._changed:
            version = self._find(name, number)
            version.num_requests += 1
        try:
            yield version
        finally:
            with self._changed:
                version.num_requests -= 1
                self._changed.notify_all()

    def states(self, name: str, number: int | None = None) -> list[tuple[int, str, str | None]]:
        """Returns a list of (number, state, error) of the versions of a model, newest first.

        Args:
            name: Name of the model.
            number: Int, the only version to return. Defaults to None, all versions.

        Raises:
            RequestError: Status 404 if there is no such model or version.
        """
        with self._changed:
            versions = self._versions(name)
            states = [
                (version.number, version.state, version.error)
                for key, version in sorted(versions.items(), reverse=True)
                if number in (None, key)
            ]
        if not states and number is not None:
            raise RequestError(404, f"Could not find version {number} of model {name}")
        return states

    def available(self, name: str) -> list[Version]:
        """Returns the available versions of a model, newest first."""
        with self._changed:
            return [
                version
                for _, version in sorted(self._versions(name).items(), reverse=True)
                if version.state == AVAILABLE
            ]

    def waiting(self, name: str) -> int:
        """Returns the number of accepted images without a reply, over the available versions of a model."""
        with self._changed:
            return sum(
                version.batcher.unfinished
                for version in self._versions(name).values()
                if version.state == AVAILABLE
            )

    def _versions(self, name: str) -> dict[int, Version]:
        if name not in self._entries:
            raise RequestError(404, f"Servable not found for request: Latest({name})")
        return self._entries[name].versions

    def _find(self, name: str, number: int | None) -> Version:
        versions = self._versions(name)
        available = {key: version for key, version in versions.items() if version.state == AVAILABLE}
        requested = max(available, default=None) if number is None else number
        if requested in available:
            return available[requested]
        states = {version.state for key, version in versions.items() if number in (None, key)}
        if LOADING in states or not self.is_ready:
            raise RequestError(503, f"The model {name} is being loaded.", retry_after=SECONDS_TO_LOAD)
        request = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise RequestError(404, f"Servable not found for request: {request}")

    def _available(self) -> list[Version]:
        return [version for name in self.names for version in self.available(name)]

    def _watch(self) -> None:
        for entry in self._entries.values():
            error = self._update(entry)
            if error is not None and not self.available(entry.source.name):
                self.failure = error
                break
        else:
            self.is_ready = True
        self._on_ready()
        watched = [entry for entry in self._entries.values() if entry.source.has_versions]
        while watched and self.is_ready and self._options.poll and not self._stop.wait(self._options.poll):
            for entry in watched:
                try:
                    self._update(entry)
                except OSError as error:  # such as a folder that is being replaced
                    logging.warning("%s: %s", entry.source.name, short_message(error))

    def _update(self, entry: _Entry) -> Exception | None:
        """Loads the new versions of a model, and unloads those that they replace.

        Returns:
            The error of the newest version that could not be loaded, or None.
        """
        error = None
        newest = dict(list(entry.source.versions().items())[: self._options.keep_versions])
        for number, path in sorted(newest.items()):
            if self._stop.is_set():
                return None
            version, files = entry.versions.get(number), fingerprint(path)
            is_new = version is None or (
                version.state == END and (version.error is None or version.files != files)
            )
            if is_new:
                version = Version(name=entry.source.name, number=number, path=path, files=files)
                with self._changed:
                    entry.versions[number] = version
                error = self._load(version)
        available = self.available(entry.source.name)
        if any(version.number in newest for version in available):
            for version in available:
                if version.number not in newest:
                    self._retire(version)
        return error

    def _load(self, version: Version) -> Exception | None:
        """Loads a version. Returns the error, or None."""
        try:
            model = self._load_model(version.path)
        except Exception as error:
            logging.warning(
                "Version %d of %s cannot be loaded: %s", version.number, version.name, short_message(error)
            )
            with self._changed:
                version.state, version.error = END, short_message(error)
            return error
        batcher = self._make_batcher(version.name, model)
        with self._changed:
            version.loaded, version.state = LoadedModel(model, batcher), AVAILABLE
        print_line(f"{version.name}: version {version.number} is served.")
        return None

    def _retire(self, version: Version) -> None:
        """Unloads a version when its requests have ended."""
        with self._changed:
            version.state = UNLOADING
            self._changed.wait_for(lambda: version.num_requests == 0)
        version.batcher.close()
        version.loaded = None
        gc.collect()  # Keras models have reference cycles
        with self._changed:
            version.state = END
        print_line(f"{version.name}: version {version.number} is unloaded.")
