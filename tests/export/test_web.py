"""Tests of the web page folder: LiteRT.js of the fixed version, the page, its configuration and the model."""

import base64
import hashlib
import io
import json
import shutil
import tarfile

import numpy as np
import pytest

import mask_rcnn
from mask_rcnn.export import formats
from mask_rcnn.export.export_model import Options, export_model
from mask_rcnn.export.exported import load
from mask_rcnn.export.runners import web_runner
from mask_rcnn.export.writers import litert_js, web_site
from mask_rcnn.export.writers.litert_js import CORE, WASM_UTILS, read_litert
from mask_rcnn.shipped_files import shipped_folder
from mask_rcnn.weights import save_weights

INDEX = b'import { createWasmLib } from "@litertjs/wasm-utils";\n//# sourceMappingURL=index.js.map\n'
CORE_CONTENT = {name: name.encode() for name in litert_js.CORE_FILES} | {"dist/index.js": INDEX}
UTILS_CONTENT = {"dist/index.js": b"export { createWasmLib };\n"}


def install(folder, version=CORE.version, core=CORE_CONTENT):
    """Writes a `node_modules` folder with a fake LiteRT.js."""
    for package, files in ((CORE, core), (WASM_UTILS, UTILS_CONTENT)):
        root = folder / "node_modules" / package.name
        for name, content in ({"package.json": json.dumps({"version": version}).encode()} | files).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return folder


def archive(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The cache folder, with archives of a fake LiteRT.js. Downloads are disabled."""
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASK_RCNN_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    for name, package, files in (("CORE", CORE, CORE_CONTENT), ("WASM_UTILS", WASM_UTILS, UTILS_CONTENT)):
        content = archive(files)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        fake = litert_js.NpmPackage(name=package.name, version=package.version, integrity=integrity)
        monkeypatch.setattr(litert_js, name, fake)
        path = litert_js.cache.path_of(fake)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return tmp_path / "home"


def check_litert(files):
    assert files["index.js"] == b'import { createWasmLib } from "./wasm_utils.js";\n\n'
    assert files["wasm_utils.js"] == UTILS_CONTENT["dist/index.js"]
    names = [f"wasm/{name}.{suffix}" for name in litert_js.VARIANTS for suffix in ("js", "wasm")]
    assert sorted(files) == sorted(["index.js", "wasm_utils.js", *names])


def test_an_installed_package_is_taken(tmp_path):
    install(tmp_path)
    check_litert(read_litert(tmp_path))
    check_litert(read_litert(tmp_path / "node_modules"))


def test_node_modules_of_the_working_directory_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(install(tmp_path))
    check_litert(read_litert())


def test_archives_of_the_registry_are_taken_from_the_cache(cached, tmp_path, capsys):
    check_litert(read_litert())
    install(tmp_path, version="0.0.1")
    check_litert(read_litert())
    assert "node_modules has @litertjs/core 0.0.1; 2.5.3 is used instead" in capsys.readouterr().out


def test_a_damaged_archive_is_refused(cached):
    path = litert_js.cache.path_of(litert_js.CORE)
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(ValueError, match="must have the hash sha512-.* Received: .*core-2.5.3.tgz"):
        read_litert()


def test_offline_the_error_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path))
    monkeypatch.setenv("MASK_RCNN_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=f"url: +https://registry.npmjs.org/@litertjs/core/-/{CORE.file_name}"):
        read_litert()


@pytest.mark.parametrize(("version", "received"), [("2.4.0", "version 2.4.0"), (None, "none")])
def test_another_version_or_none_is_refused(tmp_path, version, received):
    if version:
        install(tmp_path, version)
    with pytest.raises(ValueError, match=f"Received: .*, with {received}. Run `npm install @litertjs/core@"):
        read_litert(tmp_path)


def test_a_package_with_another_import_is_refused(tmp_path):
    install(tmp_path, core={**CORE_CONTENT, "dist/index.js": b"export {};"})
    with pytest.raises(ValueError, match="with one import of @litertjs/wasm-utils. Received: 0"):
        read_litert(tmp_path)


def write_page(folder, name, tmp_path):
    files = web_site.site_files(name, read_litert(install(tmp_path)))
    web_site.write_site(folder, files, name=name, write_model=lambda path: path.write_bytes(b"model"))


def test_a_page_is_a_folder_that_can_be_told_and_replaced(tmp_path):
    write_page(tmp_path / "page", "my fruits #1", tmp_path)
    assert formats.format_of(tmp_path / "page").name == "web"
    formats.check_replaceable(tmp_path / "page")
    assert web_runner.model_file(tmp_path / "page").read_bytes() == b"model"
    config = json.loads((tmp_path / "page/static/config.json").read_text())
    assert config["backend"] == "litert"
    assert config["models"] == [{"name": "my fruits #1", "file": "models/my%20fruits%20%231.tflite"}]
    assert all((tmp_path / "page" / file).is_file() for file in config["files"])
    readme = (tmp_path / "page/README.txt").read_text()
    assert (
        "Cross-Origin-Embedder-Policy: require-corp" in readme and f"@litertjs/core {CORE.version}" in readme
    )


def test_a_page_is_loaded_in_python(tmp_path, tiny_tflite):
    files = web_site.site_files("tiny", read_litert(install(tmp_path)))
    web_site.write_site(
        tmp_path / "page", files, name="tiny", write_model=lambda path: shutil.copy(tiny_tflite, path)
    )
    image = np.random.default_rng(0).integers(0, 256, [50, 70, 3]).astype("uint8")
    expected = load(tiny_tflite).predict(image)
    found = load(tmp_path / "page").predict(image)
    assert len(expected) > 0
    np.testing.assert_array_equal(found.boxes, expected.boxes)


@pytest.mark.parametrize("name", ["page", "model", "a.tflite", "a.onnx"])
def test_load_of_an_exported_model_names_the_function_that_loads_it(tmp_path, name):
    write_page(tmp_path / "page", "a", tmp_path)
    (tmp_path / "model").mkdir()
    for file in ("model/saved_model.pb", "a.tflite", "a.onnx"):
        (tmp_path / file).touch()
    with pytest.raises(ValueError, match=f"Expected a weights file. Received: .*{name}.*exported.load"):
        mask_rcnn.load(tmp_path / name)


def test_the_configuration_of_a_page_replaces_that_of_a_server(tmp_path):
    files = web_site.site_files("a", read_litert(install(tmp_path)))
    server = json.loads((shipped_folder("export/web") / "config.json").read_text())
    assert server == {"backend": "server"}
    assert json.loads(files["static/config.json"])["backend"] == "litert"


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("runs/fruits/best.weights.h5", "fruits"),
        ("nuclei.weights.h5", "nuclei"),
        ("torchvision/maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"),
    ],
)
def test_a_model_is_named_by_its_file_or_run(weights, name):
    assert web_site.model_name(weights) == name


def test_only_a_page_takes_litert(tmp_path):
    with pytest.raises(ValueError, match="tflite takes .* Received: --litert"):
        formats.check_options("tflite", tmp_path / "a.tflite", {"litert": tmp_path})


@pytest.mark.slow
def test_weights_become_a_checked_page(tmp_path, tiny_parts, tiny_config, tiny_categories):
    weights = tmp_path / "tiny.weights.h5"
    save_weights(weights, tiny_parts, tiny_config, categories=tiny_categories)
    image = np.random.default_rng(0).integers(0, 256, [50, 70, 3]).astype("uint8")
    options = Options(size=(64, 96), litert=install(tmp_path))
    report = export_model(weights, tmp_path / "page", format="web", images={"noise": image}, options=options)
    assert report["outcome"] in ("passed", "warned", "undecided") and report["format"] == "web"
    assert report["worst"]["matched"] > 0
    assert len(load(tmp_path / "page").predict(image)) == report["worst"]["found"]
