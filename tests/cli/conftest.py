"""The command line, called as a shell would."""

import pytest
from sparserbm_cli.main import main


@pytest.fixture
def run(monkeypatch, capsys):
    """A function of words that gives exit code, standard output and standard error."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["sparserbm", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call
