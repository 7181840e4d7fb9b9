"""The objectives of whole methods, against the published training loop run for one batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_cases import golden_cases, gradient

from icss_core.continual import first_task_of, task_objective, weight_anchor_of
from icss_core.data.batch import Batch
from icss_core.data.labelled_scene import LabelledScene
from icss_core.errors import InvalidParameterError
from icss_core.learners.continual import ContinualLearner
from icss_core.losses import Prototypes, sigmoid_cross_entropy, unbiased_distillation
from icss_core.losses.prototypes import PROTOTYPES_ARTEFACT
from icss_core.methods import dense_preset_names, get_dense_preset, needs_of
from icss_core.methods.objectness import OBJECTNESS_MAP
from icss_core.methods.possible import POSSIBLE_CLASSES
from icss_core.networks import Architecture, Segmenter, identity
from icss_core.networks.segmenter import SegmenterOutput
from icss_core.raster.source import ArraySource
from icss_core.regularisation.importance import FISHER, SCORE
from icss_core.training import Fit, SegmentationLearner

CPU = torch.device("cpu")


class Recorded(torch.nn.Module):
    """A memory network that says what was recorded."""

    def __init__(self, logits: torch.Tensor, features: torch.Tensor) -> None:
        super().__init__()
        self.output = SegmenterOutput(logits, features, features)
        self.n_classes = logits.shape[1]

    def forward(self, pixels: torch.Tensor, *, with_levels: bool) -> SegmenterOutput:
        del pixels, with_levels
        return self.output


@pytest.mark.parametrize("method", ["ft", "lwf", "lwf-mc", "ilt", "mib"])
def test_objectives_match_the_published_loop(method):
    for case in golden_cases("mib", f"objective_{method.replace('-', '_')}"):
        dtype = torch.float32
        logits, body = case.tensor("logits", dtype, grad=True), case.tensor("body", dtype, grad=True)
        memory = Recorded(case.tensor("old_logits", dtype), case.tensor("old_body", dtype))
        preset = get_dense_preset(f"mib-paper/{method}", {"optimisation.precision": "float32"})
        objective = task_objective(preset, n_classes=logits.shape[1], memory=memory, device=CPU, iterations=1)
        labels = case.tensor("labels", dtype)
        batch = Batch(pixels=torch.zeros(len(labels), 1), labels=labels)
        terms = objective(SegmenterOutput(logits, body, body), batch)
        total = torch.stack(list(terms.values())).sum()
        case.check("classification", terms["cross_entropy"], dtype)
        case.check("regularisation", total - terms["cross_entropy"], dtype)
        case.check("loss", total, dtype)
        case.check("grad_logits", gradient(total, logits), dtype)
        case.check("grad_body", gradient(total, body), dtype)


def small(n_classes: int) -> Segmenter:
    torch.manual_seed(n_classes)
    return Segmenter(Architecture(encoder="tu-test_resnet", n_classes=n_classes), identity(3))


def batches(n_classes: int, first_new: int):
    """Labels of a task: its own classes and background."""

    def make(iteration: int) -> Batch:
        generator = torch.Generator().manual_seed(iteration)
        labels = torch.randint(first_new - 1, n_classes, (2, 128, 128), generator=generator)
        labels[labels < first_new] = 0
        possible = torch.zeros(2, n_classes, dtype=torch.bool)
        possible[:, [0, n_classes - 1]] = True
        pixels = torch.rand(2, 3, 128, 128, generator=generator)
        return Batch(pixels=pixels, labels=labels, extras={"possible": possible})

    return make


def scene(first_new: int, n_classes: int) -> LabelledScene:
    """A scene of a task: its own classes and background."""
    rng = np.random.default_rng(0)
    mask = rng.integers(first_new - 1, n_classes, (1, 64, 64)).astype(np.uint8)
    mask[mask < first_new] = 0
    image = ArraySource(rng.random((3, 64, 64), np.float32))
    return LabelledScene(image=image, mask=ArraySource(mask), lookup=np.arange(256, dtype=np.uint8))


TERMS = {"sdr-shape": ["sdr_attract", "sdr_separate", "sdr_sparse"]}


def test_the_first_task_keeps_what_needs_no_memory():
    overrides = {f"regularisers.{name}.weight": 1 for name in ("objectness", "possible", "distillation")}
    first = first_task_of(get_dense_preset("mib-weak/pce", overrides))
    assert first.regularisers.keys() == {"objectness", "possible"}
    assert needs_of(first) == {OBJECTNESS_MAP, POSSIBLE_CLASSES}


@pytest.mark.parametrize("name", dense_preset_names())
def test_a_first_task_is_its_own_first_task(name):
    first = first_task_of(get_dense_preset(name))
    assert first_task_of(first) == first


@pytest.mark.parametrize("name", dense_preset_names())
def test_two_tasks_of_every_preset(name):
    """A first task without a memory network, then one with it: losses are finite and the weights move."""
    preset = get_dense_preset(
        name, {"optimisation.iterations": 2, "optimisation.precision": "float32", "epochs": None}
    )
    network, memory, gathered, kept = small(2), None, {}, {}
    for n_classes, first_new in ((2, 1), (4, 2)):
        if memory is not None:
            network = memory.extend(2, init=preset.head_init, generator=torch.Generator().manual_seed(0))
        before = [one.detach().clone() for one in network.parameters()]
        objective = task_objective(
            preset,
            n_classes=n_classes,
            memory=memory,
            device=CPU,
            iterations=2,
            scenes=[scene(first_new, n_classes)],
            crop=64,
            artefact=kept.get,
        )
        anchor = weight_anchor_of(preset, network, memory=memory, importances=gathered)
        chosen = preset if memory is not None else first_task_of(preset)
        learner = SegmentationLearner(network, objective, batches(n_classes, first_new), anchor=anchor)
        reports = []
        Fit(learner, chosen.optimisation).run(on_iteration=reports.append)
        assert len(reports) == 2
        assert any(not torch.equal(one, two) for one, two in zip(before, network.parameters(), strict=True))
        expected = {"cross_entropy"} if preset.cross_entropy.weight else set()
        expected |= {"anchor"} if preset.anchor else set()
        kept = preset.regularisers if memory is not None else first_task_of(preset).regularisers
        expected |= {name for key in kept for name in TERMS.get(key, [key.replace("-", "_")])}
        assert reports[-1].terms.keys() == expected
        if anchor is not None:
            gathered = anchor.gatherer.result({key: one.detach() for key, one in network.named_parameters()})
        memory = network.eval()
        if preset.prototypes:
            channels = network.body.encoder.out_channels[-1]
            means = Prototypes(torch.rand(n_classes, channels), torch.ones(n_classes))
            kept = {PROTOTYPES_ARTEFACT: means._asdict()}
    if preset.anchor is not None:
        parts = {"ewc": {FISHER}, "pi": {SCORE}, "rw": {FISHER, SCORE}}[preset.anchor.kind]
        assert gathered.keys() == parts
        assert all(len(one["body.segmentation_head.0.bias"]) == 4 for one in gathered.values())


def test_a_finished_task_is_fused_with_the_one_before():
    memory, ends = small(2), {}
    short = {"iterations": 2, "precision": "float32"}
    for fused_with in (None, memory):
        network = memory.extend(2, init="background")
        learner = ContinualLearner(
            network,
            lambda output, batch: {"loss": output.logits.square().mean()},
            batches(4, 2),
            anchor=None,
            prototypes=None,
            fused_with=fused_with,
        )
        Fit(learner, get_dense_preset("ewf-paper/ewf").optimisation.model_copy(update=short)).run()
        ends[fused_with is not None] = network.state_dict()
    share = (2 / 4) ** 0.5
    name = "body.encoder.model.conv1.0.weight"
    expected = share * ends[False][name] + (1 - share) * memory.state_dict()[name]
    torch.testing.assert_close(ends[True][name], expected)
    assert not torch.equal(ends[False][name], memory.state_dict()[name]), "nothing was learnt"
    rows = "body.segmentation_head.0.weight"
    torch.testing.assert_close(ends[True][rows][2:], ends[False][rows][2:], rtol=0, atol=0)


def test_the_memory_network_is_asked_once_for_a_batch_whatever_wants_to_know():
    memory, asked = small(2), []
    network = memory.extend(1)
    memory.register_forward_hook(lambda *_: asked.append(1))
    preset = get_dense_preset(
        "mib-paper/ilt", {"regularisers.distillation.weight": 1, "regularisers.disca.weight": 1}
    )
    objective = task_objective(preset, n_classes=3, memory=memory, device=CPU, iterations=1)
    one, two = batches(3, 2)(0), batches(3, 2)(1)
    for batch in (one, two):
        terms = objective(network(batch.pixels), batch)
        assert {"lwf", "features", "distillation", "disca"} < terms.keys()
    assert len(asked) == 2


def test_the_memory_networks_word_is_what_the_losses_hear():
    memory = small(2).eval()
    preset = get_dense_preset("mib-paper/mib", {"optimisation.precision": "float32"})
    objective = task_objective(preset, n_classes=3, memory=memory, device=CPU, iterations=1)
    network, batch = memory.extend(1).eval(), batches(3, 2)(0)
    output = network(batch.pixels)
    with torch.no_grad():
        said = memory(batch.pixels).logits
    terms = objective(output, batch)
    torch.testing.assert_close(terms["distillation"], 10 * unbiased_distillation(output.logits, said))


def test_the_first_task_keeps_the_kind_of_loss_and_has_its_own_learning_rate():
    preset = get_dense_preset("mib-paper/lwf-mc")
    batch = batches(2, 1)(0)
    output = small(2)(batch.pixels)
    terms = task_objective(preset, n_classes=2, memory=None, device=CPU, iterations=1)(output, batch)
    assert list(terms) == ["cross_entropy"]
    torch.testing.assert_close(terms["cross_entropy"], sigmoid_cross_entropy(output.logits, batch.labels))
    assert first_task_of(preset).optimisation.lr == preset.first_lr == 0.01
    assert first_task_of(get_dense_preset("plop-paper/plop")).cross_entropy.kind == "mean"


def test_a_task_that_adds_nothing_is_refused():
    with pytest.raises(InvalidParameterError, match="adds none"):
        task_objective(
            get_dense_preset("mib-paper/mib"), n_classes=2, memory=small(2), device=CPU, iterations=1
        )


def test_methods_that_differ_later_begin_alike():
    same = ("mib-paper/ft", "mib-paper/mib", "mib-paper/ilt", "mib-paper/joint", "plop-paper/plop")
    assert len({first_task_of(get_dense_preset(name)).model_dump_json() for name in same}) == 1
    assert first_task_of(get_dense_preset("mib-weak/unl")).regularisers == {"possible": {"weight": 0.1}}
    assert first_task_of(get_dense_preset("mib-weak/pdml")).regularisers == {"point-metric": {}}
    others = ("mib-paper/lwf-mc", "mib-paper/ewc", "mib-paper/rw")
    firsts = {first_task_of(get_dense_preset(name)).model_dump_json() for name in (*same, *others)}
    assert len(firsts) == 4
    lighter = get_dense_preset("mib-paper/ewc", {"anchor.weight": 3})
    assert first_task_of(lighter) == first_task_of(get_dense_preset("mib-paper/ewc"))


def test_sdr_needs_the_class_means_of_the_version_before():
    preset = get_dense_preset("sdr-paper/sdr")
    assert first_task_of(preset).prototypes, "kept for the task after"
    assert first_task_of(preset).regularisers.keys() == {"sdr-shape"}
    with pytest.raises(InvalidParameterError, match="whose training kept none"):
        task_objective(preset, n_classes=3, memory=small(2), device=CPU, iterations=1)


def test_what_a_task_on_scenes_cannot_provide_is_refused_at_the_door():
    with pytest.raises(InvalidParameterError, match="'sdr' compares class means"):
        get_dense_preset("mib-paper/ft", {"regularisers.sdr.weight": 1})
    with pytest.raises(InvalidParameterError, match="scale goes from a smaller"):
        get_dense_preset("mib-paper/ft", {"scale": [2.0, 0.5]})
