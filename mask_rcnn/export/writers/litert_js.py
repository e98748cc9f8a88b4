"""Provides the files of LiteRT.js, Google's runtime of TFLite files in browsers, for a web page.

They come from an installed npm package or from the npm registry, in one fixed version. LiteRT.js has the
Apache License 2.0.
"""

import base64
import json
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mask_rcnn.model_zoo import cache
from mask_rcnn.system.terminal import print_line

REGISTRY = "https://registry.npmjs.org"
INSTALL = "npm install @litertjs/core@{version}"


@dataclass(frozen=True, kw_only=True)
class NpmPackage:
    """One version of a package of the npm registry, in the form that `cache.fetch` takes.

    Args:
        name: Name with its scope, such as "@litertjs/core".
        version: The version that this package was tested with.
        integrity: Hash of its archive as npm publishes it, `sha512-BASE64`.
    """

    name: str
    version: str
    integrity: str
    packaged = ""
    algorithm = "sha512"

    @property
    def file_name(self) -> str:
        """File name of its archive."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def url(self) -> str:
        """URL of its archive."""
        return f"{REGISTRY}/{self.name}/-/{self.file_name}"

    @property
    def digits(self) -> str:
        """SHA-512 of its archive, hexadecimal."""
        return base64.b64decode(self.integrity.partition("-")[2]).hex()

    @property
    def hash_text(self) -> str:
        """Hash of its archive as npm publishes it."""
        return self.integrity


CORE = NpmPackage(
    name="@litertjs/core",
    version="2.5.3",
    integrity="sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
)
WASM_UTILS = NpmPackage(
    name="@litertjs/wasm-utils",
    version="2.5.3",
    integrity="sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
)
# WebAssembly variants that a page needs: for browsers with relaxed SIMD, the same with threads, and for older
# browsers.
VARIANTS = ("litert_wasm_internal", "litert_wasm_threaded_internal", "litert_wasm_compat_internal")
CORE_FILES = ("dist/index.js", *(f"wasm/{name}.{suffix}" for name in VARIANTS for suffix in ("js", "wasm")))
UTILS_FILES = ("dist/index.js",)
# A browser cannot import a package by name. The import is replaced by a relative path.
PACKAGE_IMPORT, FILE_IMPORT = b'"@litertjs/wasm-utils"', b'"./wasm_utils.js"'
SOURCE_MAP = re.compile(rb"^//# sourceMappingURL=.*$", re.MULTILINE)


def read_litert(folder: Path | None = None) -> dict[str, bytes]:
    """Returns the files of LiteRT.js, `{path: bytes}`: `index.js`, `wasm_utils.js`, and those in `wasm/`.

    Args:
        folder: `Path` of a folder of npm packages, or of a folder that contains `node_modules`. Defaults to
            None: the `node_modules` of the working directory if it has the version of `CORE`, else the
            registry.

    Raises:
        ValueError: The folder does not have the version of `CORE`, or a file has unexpected content.
        OSError: The archives are not in the cache and cannot be downloaded.
    """
    core, utils = _installed(folder) if folder else _installed_in_working_directory() or _from_registry()
    index = core.pop("dist/index.js")
    if index.count(PACKAGE_IMPORT) != 1:
        raise ValueError(
            f"Expected {CORE.name} {CORE.version} with one import of {WASM_UTILS.name}. "
            f"Received: {index.count(PACKAGE_IMPORT)}. Install it again: {_install_command()}."
        )
    scripts = {
        "index.js": index.replace(PACKAGE_IMPORT, FILE_IMPORT),
        "wasm_utils.js": utils["dist/index.js"],
    }
    return {name: SOURCE_MAP.sub(b"", content) for name, content in scripts.items()} | core


def _installed_in_working_directory() -> tuple[dict[str, bytes], dict[str, bytes]] | None:
    """Returns the result of `_installed` for the working directory, or None without the version of `CORE`."""
    folder = Path("node_modules")
    version = _version(folder / CORE.name)
    if version == CORE.version:
        return _installed(folder)
    if version:
        print_line(
            f"node_modules has {CORE.name} {version}; {CORE.version} is used instead, from the registry."
        )
    return None


def _installed(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Returns the files of both packages in a folder, two dicts `{path: bytes}`."""
    packages = folder / "node_modules" if (folder / "node_modules").is_dir() else folder
    version = _version(packages / CORE.name)
    if version != CORE.version:
        raise ValueError(
            f"Expected a folder with {CORE.name} {CORE.version}, such as node_modules. "
            f"Received: {folder}, with {'version ' + version if version else 'none'}. "
            f"Run `{_install_command()}` there, or omit --litert."
        )
    return _read(packages / CORE.name, CORE_FILES), _read(packages / WASM_UTILS.name, UTILS_FILES)


def _version(package: Path) -> str | None:
    try:
        return json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        return None


def _read(package: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: (package / name).read_bytes() for name in names}


def _from_registry() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Returns the result of `_installed` from the archives of the registry, which stay in the cache."""
    return _unpack(cache.fetch(CORE), CORE_FILES), _unpack(cache.fetch(WASM_UTILS), UTILS_FILES)


def _unpack(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {name: _read_member(tar, f"package/{name}") for name in names}


def _read_member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(
            f"Expected a file {name} in {tar.name}. Received: a folder or link. Delete the archive."
        )
    return file.read()


def _install_command() -> str:
    return INSTALL.format(version=CORE.version)
