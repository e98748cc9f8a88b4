import re

import jupytext
import nbformat
import notebooks
import pytest
import yaml
from locations import SAMPLES

MAX_BYTES = 1_000_000  # a browser shows such a page without delay
# Less data and fewer steps than in the notebooks. The tests do not check the accuracy.
SHORTER = {"train_on_your_data": {"num_images=120": "num_images=8", "240, 128": "3, 64"}}
# These take a minute of CPU time even with less data. Only the slow tests run them, unchanged.
LONG = ("error_analysis", "serve_and_call", "your_own_backbone_and_head", "distributed_training")
FRUIT_STEPS = {"steps": 24, "milestones": [20], "warmup_steps": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working directory of the notebooks. The first one that needs the model of dried fruit trains it."""
    folder = tmp_path_factory.mktemp("samples")
    notebooks.copy_data(folder)
    return folder


@pytest.fixture(scope="module")
def quick_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick_samples")
    notebooks.copy_data(folder)
    path = folder / "fruits_nuts" / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["train"] |= FRUIT_STEPS
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


@pytest.fixture(params=notebooks.NAMES)
def name(request):
    return request.param


def test_a_notebook_is_what_its_script_is(name):
    script = jupytext.read(SAMPLES / f"{name}.py")
    notebook = nbformat.read(SAMPLES / f"{name}.ipynb", as_version=4)
    cells = [[(cell.cell_type, cell.source) for cell in each.cells] for each in (script, notebook)]
    assert cells[0] == cells[1]  # if not, run `make samples`


def test_a_notebook_shows_what_it_did(name):
    path = SAMPLES / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert notebooks.pictures(notebook) >= 2
    assert path.stat().st_size < MAX_BYTES


def test_a_notebook_uses_public_names_only(name):
    source = (SAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert not re.findall(r"(?:\.|import )_[a-z]\w*", source)


@pytest.mark.parametrize("name", [name for name in notebooks.NAMES if name not in LONG])
def test_a_notebook_runs(name, quick_folder):
    notebooks.execute(name, quick_folder, SHORTER.get(name))


@pytest.mark.slow
def test_a_notebook_shows_what_it_promises(name, folder):
    committed = nbformat.read(SAMPLES / f"{name}.ipynb", as_version=4)
    assert notebooks.pictures(notebooks.execute(name, folder)) == notebooks.pictures(committed)


@pytest.mark.slow
def test_a_minute_of_training_finds_dried_fruit(folder):
    text = "".join(
        output.get("text", "")
        for cell in notebooks.execute("detect", folder).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    sure = int(re.search(r"(\d+) with a score of 0.7 or more", text)[1])
    assert 8 <= sure <= 18  # there are 12
