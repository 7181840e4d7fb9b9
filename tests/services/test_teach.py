"""`icss teach`: a version on disk learns a class from clicks on two files and says what it did on a third."""

import json

import numpy as np
import pytest
from bars_and_blocks import OLD, picture, pretrained
from tiny_tiles import write
from typer.testing import CliRunner

from icss_core.clicks import simulate_clicks
from icss_core.continual.replay import REPLAY_ARTEFACT
from icss_core.networks import ModelCard, load_model, save_model
from icss_core.networks.model_folder import load_artefact
from icss_core.raster.reader import open_mask
from icss_core.raster.windows import Window
from services.cli import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A version, two clicked images and one in a folder of context."""
    where = tmp_path_factory.mktemp("teach")
    network = pretrained()
    card = ModelCard(
        architecture=network.architecture,
        normalisation=network.normalisation,
        label_space=OLD,
        dtype="float32",
    )
    save_model(where / "model", network, card)
    (where / "context").mkdir()
    for name, seed in (("a", 77), ("b", 78), ("context/c", 79)):
        source, truth = picture(seed)
        write(where / f"{name}.tif", source._values.astype(np.float32))
        clicks = simulate_clicks(truth, classes=[0, 2], per_class=30, seed=0)
        points = [
            {
                "type": "Feature",
                "properties": {"class": "building" if label == 2 else "background"},
                "geometry": {"type": "Point", "coordinates": [col + 0.5, row + 0.5]},
            }
            for row, col, label in zip(
                clicks.rows.tolist(), clicks.cols.tolist(), clicks.labels.tolist(), strict=True
            )
        ]
        (where / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": points}))
        np.save(where / f"{name}.npy", truth)
    return where


def teach(folder, *more: str):
    arguments = ["teach", str(folder / "model"), "building", "--crs", "pixel", "--preset", "icss-fast"]
    return CliRunner().invoke(app, [*arguments, *more])


def test_a_class_from_two_images_holds_on_a_third(folder, tmp_path) -> None:
    pairs = [f"--clicks={folder / name}.tif={folder / name}.geojson" for name in ("a", "b")]
    out = tmp_path / "out"
    # the folder of context has a file that is no image
    done = teach(folder, *pairs, "--context", str(folder / "context"), "--out", str(out))
    assert done.exit_code == 0, done.output
    network, card = load_model(out / "model")
    assert card.label_space.names == ("background", "road", "building")
    assert (card.preset, network.architecture.hypercolumn) == ("icss-fast", 256)
    assert set(load_artefact(out / "model", REPLAY_ARTEFACT)["classes"].tolist()) == {0, 2}
    maps = sorted(path.name for path in (out / "maps").glob("*.tif"))
    assert maps == ["001-a.tif", "002-b.tif", "003-c.tif"]
    truth = np.load(folder / "context" / "c.npy")
    with open_mask(out / "maps" / "003-c.tif") as file:
        labels = file.read(Window(0, 0, *truth.shape)).values[0]
    both = ((labels == 2) & (truth == 2)).sum() / ((labels == 2) | (truth == 2)).sum()
    assert both > 0.6
    assert "c.tif" in done.output
    assert json.loads((out / "elsewhere.json").read_text())["images"][0]["name"].endswith("c.tif")
    again = teach(folder, *pairs, "--out", str(out))
    assert again.exit_code == 1
    assert "never overwritten" in again.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--clicks=a.tif"], "IMAGE=POINTS.geojson"),
        (["--clicks={}/a.tif={}/a.geojson", "--colour", "red"], "#rrggbb"),
        (["--clicks={}/a.tif={}/model/model.json"], "GeoJSON"),
        (["--clicks={}/nothing.tif={}/a.geojson"], "nothing.tif"),
        (["--clicks={}/a.tif={}/a.geojson", "--set", "hypercolumn.units=0"], "units"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(folder, tmp_path, more, said) -> None:
    done = teach(folder, *(one.replace("{}", str(folder)) for one in more), "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out" / "model").exists()
