"""LiteRT.js, Google's runtime of TFLite files in browsers: its files, of one version, for a page.

They are taken from an installed npm package, or fetched from the npm registry. LiteRT.js has the Apache
License 2.0.
"""

import base64
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from mask_rcnn.model_zoo import cache
from mask_rcnn.terminal import say

REGISTRY = "https://registry.npmjs.org"
INSTALL = "npm install @litertjs/core@{version}"


@dataclass(frozen=True, kw_only=True)
class NpmPackage:
    """One version of a package of the npm registry, as `cache.fetch` takes it.

    Args:
        name: With its scope.
        version: The one that was tried.
        integrity: Hash of its archive as npm publishes it, `sha512-BASE64`.
    """

    name: str
    version: str
    integrity: str
    packaged = ""
    algorithm = "sha512"

    @property
    def file_name(self):
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def url(self):
        return f"{REGISTRY}/{self.name}/-/{self.file_name}"

    @property
    def digits(self):
        return base64.b64decode(self.integrity.partition("-")[2]).hex()

    @property
    def hash_text(self):
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
# The variants that a page needs: of browsers with relaxed SIMD, with threads besides, and of older ones.
VARIANTS = ("litert_wasm_internal", "litert_wasm_threaded_internal", "litert_wasm_compat_internal")
CORE_FILES = ("dist/index.js", *(f"wasm/{name}.{suffix}" for name in VARIANTS for suffix in ("js", "wasm")))
UTILS_FILES = ("dist/index.js",)
# A browser knows no packages: the import names the file beside it instead.
PACKAGE_IMPORT, FILE_IMPORT = b'"@litertjs/wasm-utils"', b'"./wasm_utils.js"'
SOURCE_MAP = re.compile(rb"^//# sourceMappingURL=.*$", re.MULTILINE)


def read_litert(folder=None):
    """Returns the files of LiteRT.js, `{name: bytes}`: `index.js`, `wasm_utils.js`, and those of `wasm/`.

    Args:
        folder: `Path` of a folder of npm packages, or of one that has `node_modules`. Defaults to None: the
            `node_modules` of the working directory if it has the version of `CORE`, or else the registry.

    Raises:
        ValueError: The folder has not the version of `CORE`, or a file is not as expected.
        OSError: The archives are neither here nor can they be fetched.
    """
    core, utils = _installed(folder) if folder else _installed_here() or _fetched()
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


def _installed_here():
    """Returns what `_installed` does for the working directory, or None if it has another version or none."""
    folder = Path("node_modules")
    version = _version(folder / CORE.name)
    if version == CORE.version:
        return _installed(folder)
    if version:
        say(f"node_modules has {CORE.name} {version}; {CORE.version} is used instead, from the registry.")
    return None


def _installed(folder):
    """Returns the files of both packages in a folder, two dicts `{name: bytes}`."""
    packages = folder / "node_modules" if (folder / "node_modules").is_dir() else folder
    version = _version(packages / CORE.name)
    if version != CORE.version:
        raise ValueError(
            f"Expected a folder with {CORE.name} {CORE.version}, such as node_modules. "
            f"Received: {folder}, with {'version ' + version if version else 'none'}. "
            f"Run `{_install_command()}` there, or leave --litert out."
        )
    return _read(packages / CORE.name, CORE_FILES), _read(packages / WASM_UTILS.name, UTILS_FILES)


def _version(package):
    try:
        return json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        return None


def _read(package, names):
    return {name: (package / name).read_bytes() for name in names}


def _fetched():
    """Returns what `_installed` does, from the archives of the registry, which stay in the cache."""
    return _unpack(cache.fetch(CORE), CORE_FILES), _unpack(cache.fetch(WASM_UTILS), UTILS_FILES)


def _unpack(archive, names):
    with tarfile.open(archive) as tar:
        return {name: tar.extractfile(f"package/{name}").read() for name in names}


def _install_command():
    return INSTALL.format(version=CORE.version)
