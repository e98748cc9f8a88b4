"""The models of a server: each version is loaded, swapped in, and unloaded when its requests have ended."""

import contextlib
import gc
import threading
from dataclasses import dataclass, field

from absl import logging

from mask_rcnn.errors import short_message
from mask_rcnn.serving.refusal import Refusal
from mask_rcnn.serving.sources import fingerprint
from mask_rcnn.terminal import say

# States of TensorFlow Serving's `ModelVersionStatus`.
LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"
SECONDS_TO_LOAD = 5  # after which a client may ask again


@dataclass(eq=False)
class Version:
    """A version of a model.

    Args:
        name: Of the model.
        number: Of the version.
        path: Its file or folder.
        files: `fingerprint` of the path when it was loaded.
        state: One of the four.
        error: Why it could not be loaded, or None.
        model: `ServedModel`, while it is available.
        batcher: Its `Batcher`.
        leases: Requests that use it.
    """

    name: str
    number: int
    path: object
    files: tuple
    state: str = LOADING
    error: str | None = None
    model: object = None
    batcher: object = None
    leases: int = 0


@dataclass
class _Entry:
    source: object
    versions: dict = field(default_factory=dict)  # number -> Version


class Repository:
    """Loads versions in a thread of its own, and lends them to requests.

    The newest versions of each folder are served. A version that cannot be loaded is reported, and tried
    again when its files change; those that are loaded stay. A version is unloaded when it is no longer among
    the newest, or deleted, and another one has taken its place.

    Args:
        sources: List of `Source`.
        load: Function of a path that returns a warm `ServedModel`.
        make_batcher: Function of the name of a model and of the `ServedModel` that returns its `Batcher`.
        options: `Options`.
    """

    def __init__(self, sources, load, make_batcher, options):
        self._entries = {source.name: _Entry(source) for source in sources}
        self._load_model, self._make_batcher, self._options = load, make_batcher, options
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="repository", daemon=True)
        self.failure = None  # the error of a model that could not be loaded at the start
        self.is_ready = False  # whether the models of the start are loaded

    @property
    def names(self):
        return tuple(self._entries)

    def start(self, on_ready=None):
        """Begins to load; `on_ready` is called, in another thread, when all are loaded or one has failed."""
        self._on_ready = on_ready or (lambda: None)
        self._thread.start()

    def close(self):
        """Ends the watch, and unloads all versions when their requests have ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for version in self._available():
            self._retire(version)

    @contextlib.contextmanager
    def lease(self, name, number=None):
        """A context with an available `Version`, which stays loaded inside.

        Args:
            name: Of the model.
            number: Of the version. Defaults to None, the newest one.

        Raises:
            Refusal: 404, there is no such version; 503, it is being loaded.
        """
        with self._changed:
            version = self._find(name, number)
            version.leases += 1
        try:
            yield version
        finally:
            with self._changed:
                version.leases -= 1
                self._changed.notify_all()

    def states(self, name, number=None):
        """Returns (number, state, error) of each version, the newest first; of one if a number is given."""
        with self._changed:
            versions = self._versions(name)
            found = [
                (version.number, version.state, version.error)
                for key, version in sorted(versions.items(), reverse=True)
                if number in (None, key)
            ]
        if not found and number is not None:
            raise Refusal(404, f"Could not find version {number} of model {name}")
        return found

    def available(self, name):
        """Returns the available versions of a model, the newest first."""
        with self._changed:
            return [
                version
                for _, version in sorted(self._versions(name).items(), reverse=True)
                if version.state == AVAILABLE
            ]

    def waiting(self, name):
        """Returns the number of images that the available versions of a model have not yet answered."""
        with self._changed:
            return sum(
                version.batcher.unfinished
                for version in self._versions(name).values()
                if version.state == AVAILABLE
            )

    def _versions(self, name):
        if name not in self._entries:
            raise Refusal(404, f"Servable not found for request: Latest({name})")
        return self._entries[name].versions

    def _find(self, name, number):
        versions = self._versions(name)
        available = {key: each for key, each in versions.items() if each.state == AVAILABLE}
        wanted = max(available, default=None) if number is None else number
        if wanted in available:
            return available[wanted]
        states = {each.state for key, each in versions.items() if number in (None, key)}
        if LOADING in states or not self.is_ready:
            raise Refusal(503, f"The model {name} is being loaded.", retry_after=SECONDS_TO_LOAD)
        kind = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise Refusal(404, f"Servable not found for request: {kind}")

    def _available(self):
        return [version for name in self.names for version in self.available(name)]

    def _watch(self):
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
                except OSError as error:  # of a folder that is being replaced
                    logging.warning("%s: %s", entry.source.name, short_message(error))

    def _update(self, entry):
        """Loads what is new in a folder, and unloads what that replaces; returns the last error, or None."""
        failed = None
        newest = dict(list(entry.source.versions().items())[: self._options.keep_versions])
        for number, path in sorted(newest.items()):
            if self._stop.is_set():
                return None
            version, files = entry.versions.get(number), fingerprint(path)
            is_new = version is None or (
                version.state == END and (version.error is None or version.files != files)
            )
            if is_new:
                version = Version(entry.source.name, number, path, files)
                with self._changed:
                    entry.versions[number] = version
                failed = self._load(version)
        available = self.available(entry.source.name)
        if any(version.number in newest for version in available):
            for version in available:
                if version.number not in newest:
                    self._retire(version)
        return failed

    def _load(self, version):
        """Loads a version; returns what went wrong, or None."""
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
            version.model, version.batcher, version.state = model, batcher, AVAILABLE
        say(f"{version.name}: version {version.number} is served.")
        return None

    def _retire(self, version):
        """Unloads a version when its requests have ended."""
        with self._changed:
            version.state = UNLOADING
            self._changed.wait_for(lambda: version.leases == 0)
        version.batcher.close()
        version.model = version.batcher = None
        gc.collect()  # Keras's models are cycles
        with self._changed:
            version.state = END
        say(f"{version.name}: version {version.number} is unloaded.")
