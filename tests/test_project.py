import configparser
import pathlib
import re

import mask_rcnn

ROOT = pathlib.Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
# Folder in the repository and import name of each package.
FOLDERS = {"mask_rcnn": "mask_rcnn", "model_zoo": "mask_rcnn.model_zoo", "export": "mask_rcnn.export"}


def test_every_package_is_installed():
    found = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *path.parent.relative_to(ROOT / folder).parts]))
    assert found == set(SETUP["options"]["packages"].split())


def test_every_extra_is_of_this_project_or_has_a_lowest_version():
    for name, requirements in SETUP["options.extras_require"].items():
        for requirement in requirements.split():
            assert requirement.startswith("mask-rcnn[") or ">=" in requirement, (name, requirement)


def test_only_what_starts_a_model_knows_the_model_zoo():
    knows = re.compile(r"^\s*(from|import) mask_rcnn(\.| import )model_zoo", re.MULTILINE)
    importers = {
        path.relative_to(ROOT / "mask_rcnn").parts[0]
        for path in (ROOT / "mask_rcnn").rglob("*.py")
        if knows.search(path.read_text(encoding="utf-8"))
    }
    assert importers <= {"benchmark", "cli", "predict.py", "training"}


def test_the_version_has_an_entry_in_the_changelog():
    assert f"## {mask_rcnn.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
