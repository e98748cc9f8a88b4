import ast
import configparser
import re

from locations import ROOT

import mask_rcnn

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in (ROOT / "mask_rcnn").rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_every_extra_is_of_this_project_or_has_a_lowest_version():
    for name, requirements in SETUP["options.extras_require"].items():
        for requirement in requirements.split():
            assert requirement.startswith("mask-rcnn[") or ">=" in requirement, (name, requirement)


def test_the_map_of_the_package_has_the_import_order_of_setup_cfg():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    _, table = text.split("| Module | Content |\n|---|---|\n")
    cells = [line.split(" | ")[0] for line in table.partition("\n\n")[0].splitlines()]
    layers = SETUP["importlinter:contract:staircase"]["layers"].split("\n")
    assert [re.findall(r"\w+", cell) for cell in cells] == [re.findall(r"\w+", layer) for layer in layers[1:]]


def test_the_extra_of_the_samples_has_all_extras_that_they_use():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "samples").glob("*.py"))
    used = {name for names in re.findall(r'"\./mask-rcnn\[(.+?)\]"', text) for name in names.split(",")}
    (extras,) = re.findall(r"mask-rcnn\[(.+)\]", SETUP["options.extras_require"]["samples"])
    assert used and used == set(extras.split(","))


def test_only_what_starts_a_model_knows_the_model_zoo():
    knows = re.compile(r"^\s*(from|import) mask_rcnn(\.| import )model_zoo", re.MULTILINE)
    importers = {
        path.relative_to(ROOT / "mask_rcnn").parts[0]
        for path in (ROOT / "mask_rcnn").rglob("*.py")
        if knows.search(path.read_text(encoding="utf-8"))
    }
    assert importers - {"model_zoo"} <= {"benchmark", "cli", "export", "prediction", "training"}


def test_the_version_has_an_entry_in_the_changelog():
    assert f"## {mask_rcnn.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_editors_and_type_checkers_see_the_public_names():
    tree = ast.parse((ROOT / "mask_rcnn/__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.name: (node.module.removeprefix("mask_rcnn."), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == mask_rcnn._PUBLIC
    assert sorted(mask_rcnn.__all__) == sorted(["__version__", *mask_rcnn._PUBLIC]) == dir(mask_rcnn)
