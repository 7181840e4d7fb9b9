"""What the image is built from: read, not built. `make image-test` builds it."""

import ctypes
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from k8s.image.stand_ins import MESSAGE, REPLACED, replace, wanted
from k8s.image.trim import REMOVALS, VARIANTS, Removal, remove
from tests.image.dockerfile import command, is_sent, read_dockerfile
from tests.image.dockerfile_rules import LOCK, RULES, broken_rules

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
DOCKERIGNORE = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8")
LAST = read_dockerfile(DOCKERFILE)[1][-1]


def test_the_dockerfile_keeps_the_rules():
    assert broken_rules(DOCKERFILE) == []


BREACHES = {
    "the base is python:3.11-slim-bookworm by default": (
        "BASE_IMAGE=python:3.11-slim-bookworm",
        "BASE_IMAGE=",
    ),
    "all stages begin with an argument or a stage": ("FROM ${BASE_IMAGE}", "FROM debian:12"),
    "no tag is latest": ("slim-bookworm", "latest"),
    "no address of another machine is written down": (
        "ARG PIP_INDEX_URL",
        "ARG PIP_INDEX_URL=https://mirror.example.org/simple",
    ),
    "the user is a number, and not root": ("USER 10001:10001", "USER icss"),
    "all is made before the user changes": ("WORKDIR /app\nUSER", "USER 10001\nRUN true\nUSER"),
    "no entry point is in KubeRay's way": ("ENTRYPOINT []", 'ENTRYPOINT ["/init"]'),
    "there is one command": ('CMD ["python", "-m"', '# CMD ["python", "-m"'),
    "the last stage installs nothing": ("RUN groupadd", "RUN apt-get install --yes curl && groupadd"),
    "no stage but one has tools to build with": ("grep libexpat1", "grep libexpat1-dev"),
    "KubeRay's probes find their programs": ("libexpat1 wget", "libexpat1"),
    "the base has nothing else": ("&& rm -rf /var/lib/apt/lists/* /var/cache/apt/*", ""),
    "packages come from the lock, by their hashes": ("--require-hashes --no-deps", "--no-deps"),
    "pip keeps no cache": ("PIP_NO_CACHE_DIR=1", ""),
    "the environment comes from the stage that built it": ("COPY --from=build", "COPY --from=base"),
    "the labels are there": ('revision="${REVISION}"', 'revision=""'),
    "the services know the revision": ("ENV ICSS_REVISION=${REVISION} ", "ENV "),
    "what is written is written to /tmp": ("HOME=/tmp", "HOME=/home/icss"),
    "each setting is one that the services know": ("ICSS_API_HOST=", "ICSS_API_ADDRESS="),
    "threads share their memory": ("MALLOC_ARENA_MAX=1", "MALLOC_ARENA_MAX=8"),
    "GDAL is set as where a raster is read": (
        "GDAL_PNG_WHOLE_IMAGE_OPTIM=NO",
        "GDAL_PNG_WHOLE_IMAGE_OPTIM=YES",
    ),
    "a plain run is checked": ("/healthz", "/health"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_breach_is_seen(rule):
    ours, broken = BREACHES[rule]
    assert ours in DOCKERFILE
    assert rule in broken_rules(DOCKERFILE.replace(ours, broken))


def test_the_command_is_one_that_the_service_has():
    program, *arguments = command(LAST.only("CMD"))
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments, "--help"], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert arguments[-1] in done.stdout


def test_the_version_is_the_package_s():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert LAST.pairs("ARG")["VERSION"] == project["version"]


def test_what_is_copied_is_there_and_sent():
    copied = [source for stage in read_dockerfile(DOCKERFILE)[1] for source in stage.copied()]
    assert {"icss_core", "services", "tune_specs", LOCK} <= set(copied)
    for source in copied:
        path = REPOSITORY / source
        assert path.exists()
        files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
        code = [one for one in files if "__pycache__" not in one.parts]
        assert code
        assert all(is_sent(DOCKERIGNORE, str(one.relative_to(REPOSITORY))) for one in code)


@pytest.mark.parametrize(
    "path",
    [
        *(".git/HEAD", ".venv/bin/python", "out/stack/mlflow.db", "tests/conftest.py", "docs/operations.md"),
        *("services/__pycache__/cli.cpython-311.pyc", "k8s/base/kustomization.yaml", "requirements.lock"),
        *("icss_core/.env", "services/.cache/x", "icss.egg-info/PKG-INFO", "data/scene.tif", ".env"),
    ],
)
def test_what_is_not_copied_is_not_sent(path):
    assert not is_sent(DOCKERIGNORE, path)


def entries(name):
    """Of a lock file: `name==version` with its hashes, by name."""
    text = (REPOSITORY / name).read_text(encoding="utf-8").strip()
    return {re.split(r"==", block)[0].split("[")[0]: block for block in re.split(r"\n(?=\S)", text)}


def test_the_image_s_lock_is_a_part_of_the_lock():
    """`make lock` writes both."""
    runtime, whole = entries(LOCK), entries("requirements.lock")
    assert runtime.items() <= {name: block.rstrip(" \\") for name, block in whole.items()}.items()
    assert all("--hash=sha256:" in block for block in runtime.values())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements):
        found = (re.split(r"[^A-Za-z0-9_-]", one)[0].lower().replace("_", "-") for one in requirements)
        return {name for name in found if name != "icss"}

    extras = project["optional-dependencies"]
    assert names([*project["dependencies"], *extras["pretrained"]]) <= set(runtime)
    only_here = names(extras["dev"]) - names(project["dependencies"]) - set(runtime)
    assert {"pytest", "ruff", "mypy", "kubernetes-validate"} <= only_here


def test_what_a_cpu_does_not_need_is_in_the_lock():
    text = (REPOSITORY / "k8s/image/not-on-a-cpu.txt").read_text(encoding="utf-8")
    assert {line for line in text.splitlines() if line and line[0] != "#"} <= set(entries(LOCK))


def test_trimming_removes_what_matches_and_says_how_much(tmp_path):
    for name in ("a/tests/test_a.py", "a/core.py", "b/tests/deep/test_b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 10)
    assert remove(tmp_path, Removal("*/tests", "tests")) == 20
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [
        "a/core.py"
    ]
    with pytest.raises(ValueError, match="take it off the list"):
        remove(tmp_path, Removal("*/tests", "tests"))


def test_each_removal_has_a_reason_and_a_variant():
    assert all(one.reason and set(one.variants) <= set(VARIANTS) and one.variants for one in REMOVALS)
    assert len({one.pattern for one in REMOVALS} | set(REPLACED)) == len(REMOVALS) + len(REPLACED)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C compiler")
def test_a_stand_in_has_what_others_ask_for(tmp_path):
    """A library with a version, a variable and three functions; another that uses two of these."""

    def compiled(name, code, *options):
        source = tmp_path / f"{name}.c"
        source.write_text(code)
        library = tmp_path / f"lib{name}.so"
        subprocess.run(
            [
                "gcc",
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{library.name}",
                str(source),
                *options,
                "-o",
                str(library),
            ],
            check=True,
        )
        return library

    (tmp_path / "map").write_text("ONE { global: fft; fftErrorString; fftTable; unused; };\n")
    code = (
        'char fftTable[64]; int fft() { return 0; } char *fftErrorString() { return "x"; } int unused() {}\n'
    )
    library = compiled("gpu", code, f"-Wl,--version-script,{tmp_path / 'map'}", "-w")
    user = compiled(
        "user",
        "extern int fft(); extern char *fftErrorString(); extern char fftTable[64];\n"
        "int run() { return fft() + fftTable[0]; } char *why() { return fftErrorString(); }\n",
        str(library),
        f"-Wl,-rpath,{tmp_path}",
    )
    assert replace(library, wanted(user)) == 3
    loaded = ctypes.CDLL(str(user))
    loaded.why.restype = ctypes.c_char_p
    assert loaded.run() == 1
    assert loaded.why().decode() == MESSAGE
    assert not hasattr(ctypes.CDLL(str(library)), "unused")
    with pytest.raises(ValueError, match="remove it instead"):
        replace(library, {"something else"})
