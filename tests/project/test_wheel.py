"""Tests that the wheel has all files of the packages, and nothing else."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from locations import ROOT

FOLDERS = {
    "mask_rcnn": "mask_rcnn",
    "model_zoo": "mask_rcnn/shipped/model_zoo",
    "export/serving": "mask_rcnn/shipped/export/serving",
    "export/web": "mask_rcnn/shipped/export/web",
}
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the source, without the files that builds and tests leave there."""
    folder = tmp_path_factory.mktemp("wheel")
    source, ignored = folder / "source", shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("mask_rcnn", "model_zoo", "export"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    shutil.copytree(ROOT / "tests", source / "tests", ignore=ignored)
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel):
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entries,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "mask-rcnn = mask_rcnn.cli.main:main" in archive.read(entries).decode()
    assert names == expected
    assert {"mask_rcnn/py.typed", "mask_rcnn/export/runners/lite_runner.py"} < names


@pytest.mark.slow
def test_the_wheel_is_for_any_machine(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
