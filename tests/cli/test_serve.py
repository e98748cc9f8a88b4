import pytest

from mask_rcnn.cli import main as cli
from mask_rcnn.cli.serve import read_token, warn_of_exposure
from mask_rcnn.serving.server import bind


def exit_code(*words):
    with pytest.raises(SystemExit) as ended:
        cli.main(["mask-rcnn", "serve", *map(str, words)])
    return ended.value.code


def test_help_shows_defaults_and_examples(capsys):
    assert exit_code("--help") == 0
    text = capsys.readouterr().out
    for part in ("127.0.0.1", "8501", "--max-pixels", "50000000", "curl --data-binary", "(default: 128)"):
        assert part in text


def test_a_model_that_is_not_there_is_a_user_error(capsys, tmp_path):
    assert exit_code(tmp_path / "best.weights.h5") == 2
    assert "best.weights.h5" in capsys.readouterr().err


def test_a_folder_without_versions_is_a_user_error(capsys, tmp_path):
    assert exit_code(f"fruits={tmp_path}") == 2
    assert "numbered versions" in capsys.readouterr().err


def test_a_limit_that_makes_no_sense_is_a_user_error(capsys, tmp_path):
    assert exit_code(tmp_path, "--queue", 0) == 2
    assert "--queue" in capsys.readouterr().err


def test_a_port_in_use_is_named():
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            bind("127.0.0.1", port)


def test_the_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("MASK_RCNN_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("MASK_RCNN_TOKEN", "theirs")
    assert read_token(None) == "theirs"
    (tmp_path / "token").write_text("secret\n")
    assert read_token(tmp_path / "token") == "secret"


@pytest.mark.parametrize(
    ("host", "token", "is_warned"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("::1", None, False),
        ("0.0.0.0", None, True),
        ("example.org", None, True),
        ("0.0.0.0", "secret", False),
    ],
)
def test_an_open_port_without_a_token_is_warned_of(caplog, host, token, is_warned):
    warn_of_exposure(host, token)
    assert ("--token-file" in caplog.text) == is_warned
