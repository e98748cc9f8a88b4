"""Adds the folders that are not Python packages to the wheel. Everything else is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Files for users, which `mask_rcnn.shipped_files` finds in the clone and in the installed package.
FOLDERS = ("export/serving", "export/web", "model_zoo")


class BuildWithShippedFiles(build_py):
    """Copies `FOLDERS` to `mask_rcnn/shipped/` of the wheel. An editable installation reads the clone."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for folder in FOLDERS:
                target = Path(self.build_lib, "mask_rcnn", "shipped", folder)
                shutil.copytree(
                    folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                )


setup(cmdclass={"build_py": BuildWithShippedFiles})
