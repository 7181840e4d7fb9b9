"""Examples that a version keeps: of every class, few enough, and valid for its network."""

import numpy as np
import pytest
import torch
from bars_and_blocks import OLD, picture, pretrained

from icss_core.continual.replay import PER_CLASS, REPLAY_ARTEFACT, Replay, replay_of_scenes
from icss_core.data.labelled_scene import LabelledScene
from icss_core.errors import ModelFormatError
from icss_core.networks import ModelCard, save_model
from icss_core.raster.source import ArraySource

CPU = torch.device("cpu")


def some(label: int, number: int, *, known: int = 2, value: float = 0.0) -> Replay:
    columns, logits = (torch.full((number, width), value).half() for width in (3, 2))
    return Replay(columns, logits, torch.full((number,), label), torch.full((number,), known))


@pytest.fixture(scope="module")
def network():
    return pretrained()


def test_samples_are_the_networks_features_at_labelled_pixels(network) -> None:
    source, truth = picture(5)
    truth = np.where(truth == 2, 255, truth).astype(np.uint8)
    scene = LabelledScene(image=source, mask=ArraySource(truth[None]), lookup=np.arange(256, dtype=np.uint8))
    kept = replay_of_scenes(network, [scene], size=64, device=CPU, precision="float32", seed=1)
    assert kept.columns.shape == (len(kept.classes), sum(network.column_channels))
    assert set(kept.classes.tolist()) == set(np.unique(truth[truth < 255]).tolist())
    assert set(kept.known.tolist()) == {2}
    # every sample is the column of some pixel of its class: the decoder's part is at full resolution
    values = torch.from_numpy(source._values)[None]
    with torch.inference_mode():
        windows = [
            network(values[..., i : i + 64, j : j + 64], with_levels=True).columns[0]
            for i in range(0, truth.shape[0] - 63, 64)
            for j in range(0, truth.shape[1] - 63, 64)
        ]
    width = network.column_channels[0]
    pixels = torch.cat([one[0].flatten(1).T for one in windows]).half()
    found = (torch.cdist(kept.columns[:, :width].float(), pixels.float()).min(dim=1).values < 0.05).float()
    assert found.mean() > 0.5
    # and its logits are what the network makes of it: the classifier sees the decoder's part alone
    weights = network.classifier.weight.detach()[:, :, 0, 0]
    expected = kept.columns[:, :width].float() @ weights.T + network.classifier.bias.detach()
    torch.testing.assert_close(kept.logits_of(network), expected, rtol=0.02, atol=0.02)
    again = replay_of_scenes(network, [scene], size=64, device=CPU, precision="float32", seed=1)
    assert torch.equal(kept.columns, again.columns)


def test_there_are_never_too_many_and_old_ones_stay() -> None:
    old = Replay(*(torch.cat(parts) for parts in zip(some(0, 700), some(1, 300), strict=True)))
    new = Replay(*(torch.cat(parts) for parts in zip(
        some(0, 900, known=3, value=1.0), some(2, 1000, known=3, value=1.0), strict=True)))  # fmt: skip
    both = old.joined(new, seed=3)
    counts = torch.bincount(both.classes).tolist()
    assert counts == [PER_CLASS, 300, PER_CLASS]
    of_background = both.columns[both.classes == 0][:, 0]
    assert int((of_background == 1).sum()) == PER_CLASS // 2
    assert both.of([2]).classes.tolist() == [2] * PER_CLASS
    few = old.joined(some(0, 10, known=3, value=1.0))
    assert int((few.columns[few.classes == 0][:, 0] == 1).sum()) == 10


def test_background_may_be_what_came_later() -> None:
    kept = Replay(*(torch.cat(parts) for parts in zip(
        some(0, 1, known=2), some(0, 1, known=3), some(1, 1, known=2), strict=True)))  # fmt: skip
    assert kept.possible(4).tolist() == [
        [True, False, True, True],
        [True, False, False, True],
        [False, True, False, False],
    ]


def test_what_a_version_keeps_is_read_again(network, tmp_path) -> None:
    width = sum(network.column_channels)
    kept = some(1, 5)._replace(columns=torch.randn(5, width).half())
    card = ModelCard(architecture=network.architecture, normalisation=network.normalisation, label_space=OLD)
    save_model(tmp_path / "with", network, card, artefacts={REPLAY_ARTEFACT: kept.to_artefact()})
    read = Replay.of_version(tmp_path / "with", network)
    assert all(torch.equal(a, b) for a, b in zip(kept, read, strict=True))
    save_model(tmp_path / "without", network, card)
    assert Replay.of_version(tmp_path / "without", network) is None
    save_model(tmp_path / "other", network, card, artefacts={REPLAY_ARTEFACT: some(1, 5).to_artefact()})
    with pytest.raises(ModelFormatError, match="not of"):
        Replay.of_version(tmp_path / "other", network)


def test_logits_follow_the_network_as_it_grows(network) -> None:
    """By a network that was extended and whose head was changed, sample by sample."""
    torch.manual_seed(0)
    memory = network.with_hypercolumn(8)
    for parameter in memory.hypercolumn.classifier.parameters():
        torch.nn.init.normal_(parameter)
    columns = torch.randn(6, sum(network.column_channels)).half()

    def logits_of(one):
        decoded = columns[:, : network.column_channels[0]].float()
        weight, bias = one.classifier.weight[:, :, 0, 0], one.classifier.bias
        with torch.no_grad():
            return decoded @ weight.T + bias + one.hypercolumn.of_columns(columns.float())

    known = (logits_of(memory) - memory.classifier.bias.detach()).half()
    kept = Replay(columns, known, torch.arange(6) % 2, torch.full((6,), 2))
    grown = memory.extend(2)
    later = kept.extended(2)
    torch.testing.assert_close(later.logits_of(grown), logits_of(grown), rtol=1e-2, atol=1e-2)
    changed = grown.with_hypercolumn(4)
    torch.nn.init.normal_(changed.hypercolumn.classifier.weight)
    with torch.no_grad():
        changed.classifier.bias += torch.tensor([0.0, 0.0, 1.0, -2.0])  # as the prevalence does
    corrected = later.corrected(grown.hypercolumn, changed.hypercolumn)
    assert not torch.allclose(corrected.logits, later.logits, atol=0.1)
    torch.testing.assert_close(corrected.logits_of(changed), logits_of(changed), rtol=1e-2, atol=2e-2)
