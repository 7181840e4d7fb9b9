"""The head fit against scikit-learn, and its claim that rows give the classifier's logits."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from icss_core.losses import LabelledFeatures
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.updating.head_fit import classifier_rows, fit_classifier


@pytest.mark.parametrize("decoder", ["linknet", "unet"])
def test_rows_times_weights_are_the_networks_logits(decoder):
    torch.manual_seed(0)
    architecture = Architecture(decoder=decoder, encoder="tu-test_resnet", n_classes=3)
    network = Segmenter(architecture, identity(3)).eval()
    with torch.no_grad():
        output = network(torch.rand(2, 3, 64, 64))
    labels = torch.full((2, 64, 64), 255)
    labels[0, 3, 60], labels[1, 0, 0], labels[1, 63, 63] = 1, 2, 0
    rows = classifier_rows(network.classifier, output.decoder_features, labels)
    found = rows.features @ network.classifier.weight.flatten(1).T + network.classifier.bias
    expected = output.logits.movedim(1, -1)[labels != 255]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert rows.classes.tolist() == [1, 2, 0]


def test_fit_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    classes = (features[:, 0] + rng.normal(size=300) > 0).astype(int) + (features[:, 1] > 1)
    features /= np.sqrt(np.square(features).mean())  # scale 1, as the fit works in
    layer = nn.Conv2d(4, 3, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    l2_to_start = 0.01
    samples = LabelledFeatures(
        torch.from_numpy(features), torch.from_numpy(classes), torch.ones(300, dtype=torch.float64)
    )
    # every class full: all votes are counts, so each sample weighs 1/300
    fit_classifier(layer, samples, iterations=200, l2_to_start=l2_to_start, cap=300)
    # scikit-learn does not penalise an intercept, so it is given as a feature
    with_one = np.hstack([features, np.ones((300, 1))])
    reference = LogisticRegression(C=1 / (l2_to_start * 300), fit_intercept=False, tol=1e-8, max_iter=1000)
    reference.fit(with_one, classes)
    np.testing.assert_allclose(layer.weight.detach().flatten(1), reference.coef_[:, :-1], atol=2e-3)
    np.testing.assert_allclose(layer.bias.detach(), reference.coef_[:, -1], atol=2e-3)


def test_votes_protect_the_rare_class_and_pull_holds_the_rows():
    rng = np.random.default_rng(1)
    features = torch.from_numpy(np.concatenate([rng.normal(0, 1, (1000, 2)), rng.normal(1.5, 1, (200, 2))]))
    classes = torch.cat([torch.zeros(1000, dtype=torch.int64), torch.ones(200, dtype=torch.int64)])
    samples = LabelledFeatures(features, classes, torch.ones(1200, dtype=torch.float64))

    def recall_of_rare(cap: int | None) -> float:
        layer = nn.Conv2d(2, 2, 1)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        fit_classifier(layer, samples, iterations=100, l2_to_start=1e-4, cap=cap)
        logits = features.float() @ layer.weight.flatten(1).T + layer.bias
        return float((logits.argmax(1)[classes == 1] == 1).float().mean())

    assert recall_of_rare(None) > recall_of_rare(1200) + 0.1
    held = nn.Conv2d(2, 2, 1)
    before = held.weight.detach().clone()
    fit_classifier(held, samples, iterations=100, l2_to_start=1e4)
    torch.testing.assert_close(held.weight.detach(), before, atol=1e-3, rtol=0)
