"""Every script in benchmarks/ starts: README names them beside its figures."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_script_says_how_to_use_it(path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))  # where Python looks first when a script is started
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    if "def main()" not in path.read_text():
        runpy.run_path(str(path), run_name="imported")
        return
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    assert f"usage: {path.name}" in capsys.readouterr().out
