from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import FLOAT_TYPES, golden_cases
from torch.nn import functional

from icss_core.errors import InvalidParameterError
from icss_core.losses import Prototypes, class_means, labelled_features, merge_prototypes

N_CLASSES = 4
STRIDE = 8


def random_case(seed: int, labelled: float = 0.01) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 5, 4, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, N_CLASSES, (2, 4 * STRIDE, 3 * STRIDE), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) >= labelled] = 255
    return features.requires_grad_(), labels


def naive_means(full_features: torch.Tensor, labels: torch.Tensor) -> Prototypes:
    """Class means of a full-resolution feature map (B, C, H, W), with plain loops."""
    sums = np.zeros((N_CLASSES, full_features.shape[1]))
    counts = np.zeros(N_CLASSES)
    values = full_features.detach().numpy()
    for b, i, j in np.ndindex(*labels.shape):
        label = int(labels[b, i, j])
        if label != 255:
            sums[label] += values[b, :, i, j]
            counts[label] += 1
    return Prototypes(torch.from_numpy(sums / np.maximum(counts, 1)[:, None]), torch.from_numpy(counts))


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_running_prototypes_match_reference_values(dtype):
    for case in golden_cases("sdr", "prototypes"):
        labels = case.tensor("labels", dtype)
        if case.constants["skip_background"]:
            labels = labels.masked_fill(labels == 0, 255)
        before = Prototypes(case.tensor("prototypes", dtype), case.tensor("counts", dtype))
        batch = class_means(
            labelled_features(case.tensor("features", dtype), labels), n_classes=case.constants["n_classes"]
        )
        after = merge_prototypes(before, batch)
        case.check("prototypes", after.means, dtype)
        case.check("counts", after.counts, dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_pooled_equals_the_published_full_resolution_means(dtype):
    """The published LATENT_SPACE: false repeats features 32 times; `pooled` gives its means without that."""
    compared = 0
    for case in golden_cases("icss", "sdr_published"):
        if case.constants["latent_space"] or not case.has("features0"):
            continue
        for batch in (0, 1):
            samples = labelled_features(
                case.tensor(f"features{batch}", dtype),
                case.tensor(f"labels{batch}", dtype),
                assignment="pooled",
            )
            means = class_means(samples, n_classes=case.constants["n_classes"])
            published = torch.where(means.valid[:, None], means.means, torch.nan)
            case.check(f"prototypes{batch}", published, dtype)
            compared += 1
    assert compared


@pytest.mark.parametrize("seed", range(3))
def test_pooled_means_equal_plain_loops_over_repeated_features(seed):
    features, labels = random_case(seed)
    repeated = functional.interpolate(features, scale_factor=STRIDE, mode="nearest")
    actual = class_means(labelled_features(features, labels, assignment="pooled"), n_classes=N_CLASSES)
    expected = naive_means(repeated, labels)
    torch.testing.assert_close(actual.means, expected.means)
    torch.testing.assert_close(actual.counts, expected.counts)


def test_pooled_means_are_those_of_average_pooled_one_hot_labels():
    features, labels = random_case(3)
    one_hot = functional.one_hot(labels.where(labels != 255, N_CLASSES), N_CLASSES + 1)[..., :N_CLASSES]
    soft = functional.avg_pool2d(one_hot.movedim(-1, 1).double(), STRIDE)  # (B, N, h, w)
    expected = torch.einsum("bnhw,bchw->nc", soft, features) / soft.sum(dim=(0, 2, 3))[:, None]
    actual = class_means(labelled_features(features, labels, assignment="pooled"), n_classes=N_CLASSES)
    torch.testing.assert_close(actual.means, expected)


@pytest.mark.parametrize("seed", range(3))
def test_bilinear_means_equal_plain_loops_over_interpolated_features(seed):
    features, labels = random_case(seed)
    upsampled = functional.interpolate(features, scale_factor=STRIDE, mode="bilinear", align_corners=False)
    actual = class_means(labelled_features(features, labels, assignment="bilinear"), n_classes=N_CLASSES)
    expected = naive_means(upsampled, labels)
    torch.testing.assert_close(actual.means, expected.means)
    torch.testing.assert_close(actual.counts, expected.counts)


def test_every_click_counts_where_nearest_sampling_sees_none():
    features, labels = random_case(4)
    labels[:, ::STRIDE, ::STRIDE] = 255  # nothing on the grid that nearest sampling reads
    for assignment in ("pooled", "bilinear"):
        means = class_means(labelled_features(features, labels, assignment=assignment), n_classes=N_CLASSES)
        assert int(means.counts.sum()) == int((labels != 255).sum())


def test_labels_at_feature_resolution_need_no_assignment():
    features, _ = random_case(5)
    labels = torch.randint(0, N_CLASSES, (2, 4, 3))
    rows = {a: labelled_features(features, labels, assignment=a) for a in ("pooled", "bilinear")}
    for name in ("features", "classes", "weights"):
        assert torch.equal(getattr(rows["pooled"], name), getattr(rows["bilinear"], name))
    assert torch.equal(rows["pooled"].features, features.movedim(1, -1).reshape(-1, 5))


@pytest.mark.parametrize("assignment", ["pooled", "bilinear"])
def test_gradient_equals_finite_differences(assignment):
    features, labels = random_case(6)

    def means(values: torch.Tensor) -> torch.Tensor:
        return class_means(labelled_features(values, labels, assignment=assignment), n_classes=4).means

    assert torch.autograd.gradcheck(means, (features,))


@pytest.mark.parametrize("assignment", ["pooled", "bilinear"])
def test_memory_format_does_not_matter(assignment):
    features, labels = random_case(7)
    last = features.detach().contiguous(memory_format=torch.channels_last)
    expected = labelled_features(features, labels, assignment=assignment)
    actual = labelled_features(last, labels, assignment=assignment)
    assert torch.equal(actual.features, expected.features)


def test_16_bit_features_are_averaged_in_32_bits():
    features, labels = random_case(8, labelled=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        means = class_means(labelled_features(features.detach().float(), labels), n_classes=4)
    expected = class_means(labelled_features(features, labels), n_classes=4)
    assert means.means.dtype == torch.float32
    torch.testing.assert_close(means.means, expected.means.float(), rtol=1e-5, atol=1e-5)
    assert labelled_features(features.detach().bfloat16(), labels).features.dtype == torch.float32


def test_no_label_gives_no_row_and_zero_means():
    features, labels = random_case(9)
    samples = labelled_features(features, torch.full_like(labels, 255))
    means = class_means(samples, n_classes=N_CLASSES)
    assert samples.features.shape == (0, 5)
    assert not means.valid.any()
    assert not means.means.any()


def test_merging_windows_equals_one_pass():
    features, labels = random_case(10, labelled=0.2)
    whole = class_means(labelled_features(features, labels, assignment="pooled"), n_classes=N_CLASSES)
    merged = Prototypes(torch.zeros(N_CLASSES, 5, dtype=torch.float64), torch.zeros(N_CLASSES))
    for image in range(2):
        part = labelled_features(features[image, None], labels[image, None], assignment="pooled")
        merged = merge_prototypes(merged, class_means(part, n_classes=N_CLASSES))
    torch.testing.assert_close(merged.means, whole.means)
    torch.testing.assert_close(merged.counts, whole.counts)


def test_wrong_arguments_are_named():
    features, labels = random_case(11)
    with pytest.raises(InvalidParameterError, match="whole multiple"):
        labelled_features(features, labels[:, :-1])
    with pytest.raises(InvalidParameterError, match="features must be"):
        labelled_features(features[0], labels)
    with pytest.raises(InvalidParameterError, match="int64"):
        labelled_features(features, labels.int())
    with pytest.raises(InvalidParameterError, match=r"\[0, 255\]"):
        labelled_features(features, labels - 1)
    with pytest.raises(InvalidParameterError, match="below 2"):
        class_means(labelled_features(features, labels), n_classes=2)
    known = class_means(labelled_features(features, labels), n_classes=4)
    with pytest.raises(InvalidParameterError, match="merged"):
        merge_prototypes(known, Prototypes(known.means[:3], known.counts[:3]))
