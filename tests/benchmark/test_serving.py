import pytest
from fake_model import FakePredictor, fake_model, png
from fake_server import running

from mask_rcnn.benchmark import serving
from mask_rcnn.cli import main as cli


def test_all_clients_together_send_the_requests():
    predictor = FakePredictor()
    with running({"fruits": fake_model(predictor)}) as server:
        report = serving.measure_load(
            f"http://127.0.0.1:{server.port}", [png(), png(red=0)], clients=3, requests=20
        )
    assert sum(predictor.batches) == 20
    assert report["statuses"] == {"200": 20}
    assert report["per_second"] == pytest.approx(20 / report["seconds"])
    assert 0 < report["percentiles"]["50"] <= report["percentiles"]["99"] <= report["seconds"]
    assert all(number > 1e6 for number in report["memory"])


def test_refused_requests_are_no_throughput():
    with running() as server:
        report = serving.measure_load(f"http://127.0.0.1:{server.port}", [b"no image"], clients=1, requests=3)
    assert report["statuses"] == {"400": 3}
    assert report["per_second"] == 0
    assert report["percentiles"] == {"50": None, "95": None, "99": None}


def test_a_server_is_measured_in_turns_with_the_bare_model(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png())
    predictor = FakePredictor()
    with running() as server:
        monkeypatch.setattr(serving, "running_server", lambda path, options: _Given(server.port))
        report = serving.serving_speed(predictor, tmp_path, [tmp_path / "a.png"], clients=[1, 2], requests=5)
    assert [each["clients"] for each in report["loads"]] == [1, 2]
    assert len(report["model"]) == 3
    for each, *bare in zip(report["loads"], report["model"], report["model"][1:], strict=False):
        assert each["ratio"] == pytest.approx(each["per_second"] * sum(bare) / 2)
    text = serving.format_serving_speed(report)
    assert "200: 5" in text
    assert len(text.splitlines()) == 4


class _Given:
    """A context manager that returns the URL of a server that is already running."""

    def __init__(self, port):
        self._url = f"http://127.0.0.1:{port}"

    def __enter__(self):
        return self._url

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--weights", "a.h5", "--model", "b.tflite"],
        ["--weights", "a.h5", "--config", "shapes"],
        ["--weights", "a.h5", "--clients", "0"],
        ["--model", "b.tflite", "--set", "input.short_side=320"],
    ],
)
def test_options_that_do_not_go_together_are_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["mask-rcnn", "benchmark", "--mode", "serve", *words])
    assert ended.value.code == 2
    assert "Received" in capsys.readouterr().err
