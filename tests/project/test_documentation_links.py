"""Links of the documentation resolve, its config fields exist, and the site builds without a warning."""

import collections
import dataclasses
import html.parser
import importlib.util
import re
import subprocess
import sys
import urllib.parse

import pytest
from locations import ROOT

from mask_rcnn.config import Config
from mask_rcnn.config_io import from_text

DOCS = ROOT / "docs"
FOLDERS = ("docs", "export", "model_zoo", "samples")
TEXTS = [*ROOT.glob("*.md"), *(page for name in FOLDERS for page in sorted((ROOT / name).rglob("*.md")))]
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?![a-z]+:)([^)#]*)(?:#([^)]+))?\)")
# `data.yaml` is a file of YOLO, `train.log` is one of a recipe.
FIELD = re.compile(r"`(\w+)\.(?!yaml`|log`)(\w+)(?:: [^`]+)?`")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def headings(page):
    """Returns the anchors of the headings of a page, as GitHub makes them."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    anchors, counts = set(), collections.Counter()
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        anchors.add(f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor)
        counts[anchor] += 1
    return anchors


def broken_links(page):
    """Returns the links of a Markdown file that lead to no file or to no heading."""
    text = CODE.sub("", BLOCK.sub("", page.read_text(encoding="utf-8")))
    broken = []
    for place, anchor in LINK.findall(text):
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(f"{place}#{anchor}")
    return broken


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_the_links_of_a_page_lead_to_files_and_headings(page):
    assert not broken_links(page)


def test_a_missing_file_and_a_missing_heading_are_broken_links(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One two\n\n[a](page.md#one-two) [b](#three) [c](no.md)\n\n```\n# three\n```\n")
    assert broken_links(page) == ["#three", "no.md#"]


def test_two_equal_headings_have_different_anchors(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Use `fit`\n\n## Use `fit`\n")
    assert headings(page) == {"use-fit", "use-fit-1"}


def sections():
    """Returns `{name: dataclass}` of the sections of a config that has all of them."""
    config = from_text("box_head: {class_agnostic: true}\ncascade: {}\nkeypoint_head: {}")
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(Config)}
    return {name: value for name, value in values.items() if dataclasses.is_dataclass(value)}


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_the_config_fields_that_a_page_names_exist(page):
    known = sections()
    named = FIELD.findall(page.read_text(encoding="utf-8"))
    assert not [
        f"{section}.{field}"
        for section, field in named
        if section in known and not hasattr(known[section], field)
    ]


def load_hooks():
    spec = importlib.util.spec_from_file_location("documentation_hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_config_reference_has_type_default_limits_and_comment_of_a_field():
    text = load_hooks().config()
    row = next(line for line in text.splitlines() if line.startswith("| `momentum`"))
    assert row == '| `momentum` | `float` | `0.9` | from 0 to 1 | beta 1 for "adamw" |'
    assert "`sgd`, `adamw`" in next(line for line in text.splitlines() if line.startswith("| `optimizer`"))


def test_the_config_reference_has_every_field():
    text = load_hooks().config()
    for name, section in sections().items():
        part = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        named = re.findall(r"^\| `(\w+)`", part, re.MULTILINE)
        assert named == [field.name for field in dataclasses.fields(section)]


def test_comments_before_and_after_a_field_are_its_comment():
    source = (
        "class A:\n    # Number of\n    # steps.\n    steps: int = 1\n    rate: float = 0.1  # per step\n"
    )
    assert load_hooks().field_comments(source) == {"steps": "Number of steps.", "rate": "per step"}


def test_the_command_reference_has_the_help_of_each_command():
    text = load_hooks().commands()
    for command in ("train", "data check", "data convert", "models convert", "config show", "doctor"):
        assert f"\n## mask-rcnn {command}\n\n```text\nusage: mask-rcnn {command} " in f"\n{text}"


def test_links_to_files_outside_of_the_pages_lead_to_their_copies():
    hooks = load_hooks()
    linked = "![a](../../samples/fruits_nuts.jpg) [b](../../CONTRIBUTING.md) [c](../export.md#onnx)"
    replaced = hooks.LINK.sub(
        lambda match: match[1] + hooks._site_link(match[2], DOCS / "extending/head.md", "extending/head.md"),
        linked,
    )
    assert replaced == "![a](../files/samples/fruits_nuts.jpg) [b](../contributing.md) [c](../export.md#onnx)"


class Page(html.parser.HTMLParser):
    """Collects the links and the anchors of an HTML page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values.get("id"), values.get("name")}
        self.links += [values[name] for name in ("href", "src") if values.get(name)]


@pytest.mark.slow
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
    reason="needs mkdocs-material and mkdocstrings: pip install '.[docs]'",
)
def test_the_site_builds_without_warnings_and_all_its_links_resolve(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    # 404.html has absolute links, because a server shows it at any address.
    paths = [path for path in tmp_path.rglob("*.html") if path.name != "404.html"]
    pages = {path: Page(path) for path in paths}
    assert len(pages) > len(list(DOCS.rglob("*.md")))
    broken = []
    for path, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                assert url.scheme in ("https", "http", "data", "mailto"), (path, link)
                continue
            target = (path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else {url.fragment}
            if not target.is_file() or url.fragment not in anchors:
                broken.append((path.name, link))
    assert not broken
    loaded = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="https?:')
    assert not [path for path in pages if loaded.search(path.read_text(encoding="utf-8"))]
