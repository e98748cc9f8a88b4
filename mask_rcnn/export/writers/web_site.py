"""Writes a folder with a web page that runs a model in the browser. Any static web server can host it."""

import json
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from mask_rcnn.export.export_model import ExportJob, Options
from mask_rcnn.export.runners.web_runner import CONFIG
from mask_rcnn.export.writers import lite
from mask_rcnn.export.writers.litert_js import CORE, read_litert
from mask_rcnn.shipped_files import shipped_folder

PAGE, STATIC, LITERT, MODELS = "index.html", "static", "litert", "models"
SERVICE_WORKER = "sw.js"  # must be in the folder of the page: a service worker controls its own folder only
RUN_FILES = ("best", "final")  # weights files of a training run; the model gets the name of the run's folder

README = """\
A web page that detects objects in images, written by `mask-rcnn export --format web`
====================================================================================

The model runs in the browser of the user, and no image leaves the browser. Browsers refuse to load models
from files, so a web server must host this folder. Any static server is suitable:

    python -m http.server -d {folder} 8000       then open http://localhost:8000

On GitHub Pages, commit the folder as it is. It may be a subfolder of the site.

Headers. None are required. With these two headers, LiteRT.js uses several threads from the first visit on:

    Cross-Origin-Opener-Policy: same-origin
    Cross-Origin-Embedder-Policy: require-corp

Without them, the first visit runs on one thread. On https pages and on localhost, {service_worker} adds them
in the browser, so that later visits use all threads. It also caches the files, so that the page works
offline. The server must send the usual types: `text/javascript` for .js and `application/wasm` for .wasm.

Several models. Copy more TFLite files of `mask-rcnn export` into {models}, and add them to {config}.
The page can compare two of them.

Python. `mask_rcnn.export.exported.load({folder!r})` loads the first model of {config}.

LiteRT.js: {core} {version}, Apache License 2.0, https://github.com/google-ai-edge/LiteRT.
The import of @litertjs/wasm-utils in {litert}/index.js names a file instead of a package. Nothing else of
LiteRT.js was changed.
"""


def export_job(weights: Path | str, options: Options) -> ExportJob:
    """Returns the `ExportJob` of a web page; see `export_model.py`. Its model is checked as a TFLite file."""
    name = model_name(weights)
    files = site_files(name, read_litert(options.litert))  # before the model, because it may fail
    model_job = lite.export_job(weights, options)

    def write(folder: Path) -> None:
        write_site(folder, files, name=name, write_model=model_job.write)

    return replace(
        model_job,
        write=write,
        least_bytes=model_job.least_bytes + sum(len(content) for content in files.values()),
    )


def model_name(weights: Path | str) -> str:
    """Returns the name of the model on the page: the name of its weights file, or of its run's folder."""
    path = Path(str(weights))
    stem = path.name.removesuffix(".h5").removesuffix(".weights")
    return path.resolve().parent.name if stem in RUN_FILES else stem


def site_files(name: str, litert: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns all files of a page except the model, `{path in the folder: bytes}`.

    Args:
        name: Name of the model.
        litert: Dict of `read_litert`.
    """
    page = {file.name: file.read_bytes() for file in shipped_folder("export/web").iterdir()}
    files = {name: page.pop(name) for name in (PAGE, SERVICE_WORKER)}
    files |= {f"{STATIC}/{file}": content for file, content in page.items()}
    files |= {f"{LITERT}/{file}": content for file, content in litert.items()}
    config = {
        "backend": "litert",
        "models": [{"name": name, "file": f"{MODELS}/{urllib.parse.quote(name)}.tflite"}],
        # Cached at the first visit. WebAssembly and models are cached at their first use.
        "files": sorted(file for file in files if not file.endswith((".wasm", SERVICE_WORKER))),
    }
    files[CONFIG] = (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode()
    return files | {"README.txt": _readme().encode(), ".nojekyll": b""}


def write_site(
    folder: Path, files: Mapping[str, bytes], *, name: str, write_model: Callable[[Path], None]
) -> None:
    """Writes a web page.

    Args:
        folder: `Path` that does not exist yet.
        files: Dict of `site_files`.
        name: Name of the model.
        write_model: Function of a path that writes the TFLite file there.
    """
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / MODELS).mkdir()
    write_model(folder / MODELS / f"{name}.tflite")


def _readme() -> str:
    return README.format(
        folder="FOLDER",
        service_worker=SERVICE_WORKER,
        models=MODELS,
        config=CONFIG,
        core=CORE.name,
        version=CORE.version,
        litert=LITERT,
    )
