"""Fixtures of the tests of training."""

import pytest
from cluster_processes import check_codes, run_cluster


@pytest.fixture(scope="module")
def run_of_one_process(tmp_path_factory):
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("one")
    check_codes(run_cluster(1, folder, "run"), [0])
    return folder / "run"
