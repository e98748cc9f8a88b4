"""Tests of the web page in Chromium, with a server and with a model that runs in the browser."""

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from web_servers import DETECTIONS, FakeServer, files_of, running

from mask_rcnn.data.masks import full_mask
from mask_rcnn.export.writers import web_site
from mask_rcnn.export.writers.litert_js import read_litert

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = "axe-core@4.10.3"
SECONDS = 1000  # milliseconds, Playwright's unit of time
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as running_playwright:
        browser = running_playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser):
    """A function that opens a page. At the end it must have no errors and no requests to other servers."""
    opened = []

    def open_page(address, **options):
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(120 * SECONDS)
        page, problems = context.new_page(), []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        context.on(
            "request", lambda request: None if is_own(request.url, address) else problems.append(request.url)
        )
        page.goto(address)
        opened.append((context, problems))
        return page, problems

    yield open_page
    for context, problems in opened:
        context.close()
        assert problems == []


def is_own(url, address):
    return url.startswith((address, f"blob:{address.rstrip('/')}", "data:"))


@pytest.fixture
def server():
    with running(FakeServer) as (address, state):
        yield f"{address}/", state


@pytest.fixture(scope="module")
def site(tiny_tflite, tmp_path_factory):
    """The address of a page with the tiny model in a subfolder of a site, as on GitHub Pages."""
    root = tmp_path_factory.mktemp("site")
    try:
        files = web_site.site_files("tiny", read_litert())
    except OSError as error:
        pytest.skip(f"LiteRT.js cannot be fetched: {error}")
    web_site.write_site(
        root / "sub", files, name="tiny", write_model=lambda path: shutil.copy(tiny_tflite, path)
    )
    with running(files_of(root)) as (address, _):
        yield f"{address}/sub/"


def as_file(image, name="photo.png", **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, Path(name).suffix[1:].replace("jpg", "jpeg"), **options)
    return {"name": name, "mimeType": f"image/{Path(name).suffix[1:]}", "buffer": stream.getvalue()}


SMALL = as_file(np.full([6, 8, 3], 128, "uint8"))
TEXT = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}


def choose(page, file):
    page.set_input_files("#file", file)
    page.wait_for_selector("#busy", state="hidden")
    page.wait_for_selector("#results:not([hidden]), #error:not([hidden])")


def downloaded(page, action):
    with page.expect_download() as download:
        page.click(f"[data-action={action}]")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def set_score(page, score):
    page.fill("#score", str(score))


def objects(page):
    return [text.split("\n") for text in page.locator("#objects button").all_inner_texts()]


def screenshot(page, name):
    """Saves a screenshot of the page if $MASK_RCNN_SCREENSHOTS names a folder."""
    if folder := os.environ.get("MASK_RCNN_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_a_server_finds_and_the_page_shows(server, new_page):
    address, state = server
    page, _ = new_page(address)
    choose(page, SMALL)
    query, picture = state.asked[0]
    assert query == {"model": "first", "version": "1", "score": "0.05", "masks": "rle"}
    assert picture == SMALL["buffer"]
    assert page.inner_text("#status") == "1 object: 1 person (0.25 s)"
    assert objects(page) == [["person", "90%"]]
    set_score(page, 0.2)
    assert objects(page) == [["person", "90%"], ["cat", "30%"]]
    page.uncheck("#classes input[value=person]")
    assert objects(page) == [["cat", "30%"]]
    screenshot(page, "server")


def test_keypoints_can_be_hidden_only_if_there_are_any(server, new_page, monkeypatch):
    page, _ = new_page(server[0])
    choose(page, SMALL)
    assert page.is_visible("#keypoints-layer")
    monkeypatch.delitem(DETECTIONS[0], "keypoints")
    page, _ = new_page(server[0])
    choose(page, SMALL)
    assert page.is_visible("#layers") and page.is_hidden("#keypoints-layer")


def test_the_files_hold_what_is_shown(server, new_page):
    page, _ = new_page(server[0])
    choose(page, SMALL)
    name, content = downloaded(page, "json")
    (entry,) = json.loads(content)
    expected = DETECTIONS[0]
    assert name == "photo.json"
    assert (entry["image_id"], entry["category_id"]) == ("photo.png", 5)
    assert entry["bbox"] == expected["bbox"] and entry["keypoints"] == expected["keypoints"]
    mask = full_mask(entry["segmentation"], 6, 8)
    assert mask[2:5, 1:4].all() and mask.sum() == 9
    name, content = downloaded(page, "png")
    drawn = np.asarray(Image.open(io.BytesIO(content)))
    assert name == "photo.objects.png" and drawn.shape == (6, 8, 4)
    assert (drawn[..., :3] != 128).any()


def test_two_models_are_compared(server, new_page):
    page, _ = new_page(server[0])
    choose(page, SMALL)
    page.select_option("#second", "second/1")
    page.wait_for_selector("#busy", state="hidden")
    page.wait_for_selector("#objects h3 >> nth=1")
    assert page.locator("#objects h3").all_inner_texts() == ["first", "second"]
    assert page.locator("canvas:visible").count() == 2
    entries = json.loads(downloaded(page, "json")[1])
    assert [entry["model"] for entry in entries] == ["first", "second"]
    screenshot(page, "compared")
    page.check("input[value=second]")
    assert page.locator("canvas:visible").count() == 1
    assert len(json.loads(downloaded(page, "json")[1])) == 1


def test_errors_are_said_plainly(server, new_page):
    address, state = server
    page, problems = new_page(address)
    choose(page, TEXT)
    assert "not a picture that the browser can read: notes.txt (text/plain)" in page.inner_text("#error")
    state.refusal = (413, "At most 10 MB are read.")
    choose(page, SMALL)
    assert "too large for this server. At most 10 MB" in page.inner_text("#error")
    state.refusal = None
    page.click("#retry")
    page.wait_for_selector("#results:not([hidden])")
    assert page.is_hidden("#error")
    assert all("413" in problem for problem in problems)  # the browser's own message about the status
    problems.clear()


def test_a_server_that_is_away_can_be_asked_again(server, new_page):
    page, problems = new_page(server[0])
    page.wait_for_selector("#model option", state="attached")
    page.context.set_offline(True)
    choose(page, SMALL)
    assert "The server does not answer." in page.inner_text("#error")
    page.context.set_offline(False)
    page.click("#retry")
    page.wait_for_selector("#results:not([hidden])")
    assert all("ERR_INTERNET_DISCONNECTED" in problem for problem in problems)
    problems.clear()


def test_a_token_is_asked_for(server, new_page):
    address, state = server
    state.token = "secret"
    page, problems = new_page(address)
    page.fill("#token", "secret")
    page.keyboard.press("Enter")
    page.wait_for_selector("#error", state="hidden")
    choose(page, SMALL)
    assert objects(page) == [["person", "90%"]]
    assert all("401" in problem for problem in problems)
    problems.clear()


def test_the_camera_takes_a_picture(server, new_page):
    address, state = server
    page, _ = new_page(address)
    page.click("#welcome [data-action=camera]")
    page.wait_for_timeout(1 * SECONDS)  # until the camera returns images
    page.click("#camera [value=take]")
    page.wait_for_selector("#results:not([hidden])")
    assert Image.open(io.BytesIO(state.asked[0][1])).format == "JPEG"


DROP = "new DragEvent('drop', { dataTransfer: files, cancelable: true })"
PASTE = "new ClipboardEvent('paste', { clipboardData: files })"


@pytest.mark.parametrize("event", [DROP, PASTE], ids=["dropped", "pasted"])
def test_a_picture_is_dropped_or_pasted(server, new_page, event):
    page, _ = new_page(server[0])
    page.evaluate(
        f"""(bytes) => {{
            const files = new DataTransfer();
            files.items.add(new File([Uint8Array.from(bytes)], "photo.png", {{ type: "image/png" }}));
            document.dispatchEvent({event});
        }}""",
        list(SMALL["buffer"]),
    )
    page.wait_for_selector("#results:not([hidden])")
    assert objects(page) == [["person", "90%"]]


def test_the_picture_is_zoomed_moved_and_clicked(server, new_page):
    page, _ = new_page(server[0])
    choose(page, SMALL)
    canvas = page.locator("canvas").first.bounding_box()
    scale = min(canvas["width"] / 8, canvas["height"] / 6)
    middle = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    person = middle[0] + (2.5 - 4) * scale, middle[1] + (3.5 - 3) * scale  # pixel (2, 3) of 8 x 6
    page.mouse.click(*person)
    assert page.get_attribute("#objects button", "aria-pressed") == "true"
    page.mouse.click(middle[0] + 3 * scale, middle[1] + 2 * scale)
    assert page.get_attribute("#objects button", "aria-pressed") == "false"
    page.mouse.move(*person)
    page.mouse.wheel(0, -700)
    page.wait_for_function("() => document.querySelector('#zoom').textContent !== '100%'")
    page.mouse.click(*person)  # is at the same position
    assert page.get_attribute("#objects button", "aria-pressed") == "true"
    page.click("[data-action=fit]")
    assert page.inner_text("#zoom") == "100%"


def test_all_works_by_keyboard(server, new_page):
    page, _ = new_page(server[0])
    page.on("filechooser", lambda chooser: chooser.set_files(SMALL))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results:not([hidden])")
    reached = tabbed_ids(page)
    assert {"model", "score", "CANVAS", "json", "png", "masks", "person"} <= set(reached)
    page.focus("canvas")
    page.keyboard.press("+")
    assert page.inner_text("#zoom") == "125%"
    page.keyboard.press("0")
    assert page.inner_text("#zoom") == "100%"
    page.focus("#score")
    page.keyboard.press("Home")
    assert len(objects(page)) == 2
    page.focus("#classes input[value=person]")
    page.keyboard.press("Space")
    assert objects(page) == [["cat", "30%"]]


def tabbed_ids(page):
    """Returns the elements that the Tab key reaches from the first one: each id, value, action or tag."""
    page.focus(".skip")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = "(e => e.id || e.value || e.dataset.action || e.tagName)(document.activeElement)"
        reached.append(page.evaluate(name))
    return reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_no_barrier(server, new_page, viewport, scheme, tmp_path):
    page, _ = new_page(server[0], viewport=viewport, color_scheme=scheme, bypass_csp=True)
    script = axe_script(tmp_path)
    page.wait_for_selector("#model option", state="attached")
    barriers = run_axe(page, script)
    choose(page, TEXT)
    barriers += run_axe(page, script)
    page.click("#dismiss")
    choose(page, SMALL)
    set_score(page, 0.2)
    screenshot(page, f"axe_{viewport['width']}_{scheme}")
    assert barriers + run_axe(page, script) == []
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def axe_script(folder):
    """Returns the source of axe-core from the npm registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    result = subprocess.run([npm, "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=120)
    if result.returncode:
        pytest.skip(f"axe-core cannot be fetched: {result.stderr[-200:]}")
    shutil.unpack_archive(folder / result.stdout.split()[-1], folder)
    return (folder / "package/axe.min.js").read_text(encoding="utf-8")


def run_axe(page, script):
    page.evaluate(script)
    found = page.evaluate("axe.run()")
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


def noise(height, width):
    return np.random.default_rng(height).integers(0, 256, [height, width, 3]).astype("uint8")


def turned():
    """Returns EXIF data of an image that must be rotated by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "file",
    [
        as_file(noise(120, 90)),
        as_file(noise(33, 150), "wide.jpg", quality=90),
        as_file(noise(60, 100), "turned.jpg", exif=turned()),
    ],
    ids=lambda file: file["name"],
)
def test_the_browser_finds_what_python_finds(site, new_page, tiny_tflite, file):
    page, _ = new_page(site)
    choose(page, file)
    set_score(page, 0.05)
    entries = json.loads(downloaded(page, "json")[1])
    expected = python_entries(tiny_tflite, file)
    assert len(entries) == len(expected) > 3
    for entry, one in zip(entries, expected, strict=True):
        assert entry["category_id"] == one["category_id"]
        assert entry["score"] == pytest.approx(one["score"], abs=1e-4)
        np.testing.assert_allclose(entry["bbox"], one["bbox"], atol=1e-3)
        iou = coco_mask.iou([entry["segmentation"]], [one["segmentation"]], [0])
        assert iou[0, 0] >= 0.99 or not coco_mask.area(one["segmentation"])


def python_entries(model, file):
    from mask_rcnn.evaluation.coco_results import to_coco
    from mask_rcnn.export.exported import load

    predictor = load(model)
    image = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file["buffer"]))).convert("RGB"))
    entries = to_coco(predictor.predict(image), 0, predictor.categories)
    return [entry for entry in entries if entry["score"] >= 0.05]


def test_the_page_works_without_a_network_after_the_first_visit(site, new_page):
    page, _ = new_page(site)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    choose(page, as_file(noise(64, 96)))
    found = objects(page)
    page.reload()
    assert page.evaluate("crossOriginIsolated")
    choose(page, as_file(noise(64, 96)))  # with threads, whose files are cached now
    assert objects(page) == found
    page.context.set_offline(True)
    page.reload()
    choose(page, as_file(noise(64, 96)))
    assert objects(page) == found


def test_a_model_file_of_the_user_is_run(site, new_page, tiny_tflite):
    page, _ = new_page(site)
    choose(page, as_file(noise(64, 96)))
    found = objects(page)
    page.set_input_files("#model-file", {**TEXT, "name": "other.tflite"})
    page.wait_for_selector("#error:not([hidden])")
    assert "complete TFLite file" in page.inner_text("#error")
    page.set_input_files("#model-file", str(tiny_tflite))
    page.wait_for_selector("#model option >> nth=1", state="attached")
    page.wait_for_selector("#busy", state="hidden")
    assert objects(page) == found
    assert page.eval_on_selector("#model", "select => select.selectedOptions[0].text") == "model"


def test_it_fits_a_phone(site, new_page):
    page, _ = new_page(site, viewport=PHONE, has_touch=True, is_mobile=True, color_scheme="dark")
    screenshot(page, "phone_welcome")
    choose(page, as_file(noise(120, 90)))
    screenshot(page, "phone")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
