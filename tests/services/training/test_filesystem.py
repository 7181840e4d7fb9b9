"""Checkpoints as Ray Train writes them, on a real S3 server."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from pyarrow import fs

from services.errors import UriNotAllowedError
from services.settings import environment_of
from services.training.filesystem import checkpoint_filesystem

FOLDER = "icss/data/training/job"


@pytest.fixture
def store(store_settings, monkeypatch):
    for name, value in environment_of(store_settings).items():
        monkeypatch.setenv(name, value)
    return pickle.loads(pickle.dumps(checkpoint_filesystem(store_settings)))  # noqa: S301 - as Ray sends it


def test_the_pickle_that_ray_keeps_in_the_store_holds_no_key(store_settings) -> None:
    content = pickle.dumps(checkpoint_filesystem(store_settings))
    assert store_settings.s3_access_key.encode() not in content
    assert store_settings.s3_secret_key.get_secret_value().encode() not in content


def test_a_deep_copy_opens_no_connection_of_its_own(store) -> None:
    """Tune makes one for each trial."""
    assert copy.deepcopy(store).handler is store.handler


def kinds(store) -> dict[str, fs.FileType]:
    selector = fs.FileSelector(FOLDER, recursive=True, allow_not_found=True)
    return {info.path: info.type for info in store.get_file_info(selector)}


def test_a_folder_goes_up_comes_back_and_leaves_no_trace_when_deleted(store, tmp_path) -> None:
    content = np.random.default_rng(0).bytes(12 * 2**20)
    (tmp_path / "checkpoint" / "model").mkdir(parents=True)
    (tmp_path / "checkpoint" / "model" / "weights.bin").write_bytes(content)
    (tmp_path / "checkpoint" / "progress.json").write_text("{}")
    store.create_dir(FOLDER)
    with store.open_output_stream(f"{FOLDER}/marker") as stream:
        stream.write(b"x")
    store.create_dir(f"{FOLDER}/checkpoint_1")
    fs.copy_files(str(tmp_path / "checkpoint"), f"{FOLDER}/checkpoint_1", destination_filesystem=store)
    fs.copy_files(f"{FOLDER}/checkpoint_1", str(tmp_path / "back"), source_filesystem=store)
    assert (tmp_path / "back" / "model" / "weights.bin").read_bytes() == content
    assert kinds(store) == {
        f"{FOLDER}/marker": fs.FileType.File,
        f"{FOLDER}/checkpoint_1": fs.FileType.Directory,
        f"{FOLDER}/checkpoint_1/model": fs.FileType.Directory,
        f"{FOLDER}/checkpoint_1/model/weights.bin": fs.FileType.File,
        f"{FOLDER}/checkpoint_1/progress.json": fs.FileType.File,
    }
    store.delete_dir(f"{FOLDER}/checkpoint_1")
    assert kinds(store) == {f"{FOLDER}/marker": fs.FileType.File}
    store.delete_file(f"{FOLDER}/marker")
    assert kinds(store) == {}


def test_writing_outside_the_allowed_prefixes_is_refused(store) -> None:
    stream = store.open_output_stream("icss-mlflow/0/x")
    stream.write(b"x")
    with pytest.raises(UriNotAllowedError):
        stream.close()


def test_what_no_object_store_can_do_is_refused(store) -> None:
    with pytest.raises(NotImplementedError):
        store.open_append_stream(f"{FOLDER}/x")
    with pytest.raises(NotImplementedError):
        store.delete_dir_contents("/", accept_root_dir=True)
