"""README says nothing that does not work; its tour over the services is run in tests/e2e/test_demo.py."""

import itertools
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from readme import REPOSITORY, TEXT, blocks
from typer.testing import CliRunner

from icss_core.continual import read_protocol
from icss_core.methods import dense_preset_names, get_dense_preset
from services.cli import app
from services.tune.read_spec import read_spec


def commands(program):
    """Command lines of README that call a program, continuation and comments removed."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]


def test_make_targets_exist():
    known = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    used = [words[1] for words in commands("make")]
    assert used
    assert set(used) <= known


def test_make_variables_reach_the_demo():
    (line,) = [words for words in commands("make") if any("=" in word for word in words)]
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "--no-print-directory", *line[1:]],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    (ran,) = [words for words in done.stdout.splitlines() if "services.demo" in words]
    for word in line[2:]:
        name, _, value = word.partition("=")
        assert f"--{name.lower()}" in ran
        assert name == "CONTROL" or value in ran


@pytest.mark.parametrize("words", commands("icss"), ids=" ".join)
def test_icss_commands_and_options_exist(words):
    result = CliRunner(env={"COLUMNS": "250"}).invoke(app, [words[1], "--help"])
    assert result.exit_code == 0, result.output
    ours, _, inner = " ".join(words).partition(" -- ")
    for word in ours.split()[2:]:
        if word.startswith("-"):
            assert word in result.output
    if inner.startswith("icss "):
        test_icss_commands_and_options_exist(shlex.split(inner))


def test_protocols_and_presets_that_are_named_exist():
    (words,) = [words for words in commands("icss") if "services.continual" in words]
    options = dict(itertools.pairwise(words))
    read_protocol(options["--protocol"])
    get_dense_preset(options["--preset"])
    known = dense_preset_names()
    for family, listed in re.findall(r"`([a-z]+-(?:paper|weak|like)/)`((?:\s+`[a-z-]+`,?)+)", TEXT):
        names = re.findall(r"`([a-z-]+)`", listed)
        assert names
        assert {f"{family}{name}" for name in names} <= set(known)


def test_sweeps_that_are_named_can_run():
    named = re.findall(r"services\.tune (\S+) --scale (\S+)", TEXT)
    assert named
    for path, scale in named:
        assert read_spec(REPOSITORY / path, scale).pairs[0].dataset in TEXT


def test_python_block_runs(capsys):
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - our own page
    assert "('background', 'road', 'building') (256, 256)" in capsys.readouterr().out


def anchors(text: str) -> set[str]:
    """The parts of a page that a link may name: its headings in lower case, without punctuation."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_files_that_are_named_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    paths = re.findall(r"`((?:icss_core|services|benchmarks|tests|tune_specs)/[\w./*-]*)`", TEXT)
    assert links
    assert paths
    for path, _, anchor in (one.partition("#") for one in links + paths):
        page = REPOSITORY / (path or "README.md")
        assert list(REPOSITORY.glob(path)) if "*" in path else page.exists(), path
        assert not anchor or anchor in anchors(page.read_text(encoding="utf-8")), (path, anchor)


def test_anchors_lead_to_headings():
    headings = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in
                re.findall(r"^#+ (.*)$", TEXT, flags=re.MULTILINE)}  # fmt: skip
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings


def test_picture_is_small():
    for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT):
        assert Path(REPOSITORY / link).stat().st_size < 600_000
