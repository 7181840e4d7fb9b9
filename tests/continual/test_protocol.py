from __future__ import annotations

import pytest

from icss_core.continual import IncrementalProtocol, protocol_names, read_protocol, split_tasks
from icss_core.dataset import BACKGROUND_CLASS, Dataset, Scene
from icss_core.errors import DatasetError, InvalidParameterError
from icss_core.labels import ClassInfo


def dataset(n_classes: int = 4, shows: dict[str, tuple[int, ...]] | None = None) -> Dataset:
    """Classes c1, c2, ... and a training scene for each entry, plus one that is only validated on."""
    classes = [
        BACKGROUND_CLASS,
        *(ClassInfo(name=f"c{i}", colour=(i, 0, 0)) for i in range(1, n_classes + 1)),
    ]
    scenes = [
        Scene(name=name, image=f"{name}.png", mask=f"{name}-m.png", labels=tuple(f"c{i}" for i in labels))
        for name, labels in (shows or {"a": (1,)}).items()
    ]
    val = Scene(name="v", image="v.png", mask="v-m.png", split="val", labels=("c1", "c2"))
    return Dataset(name="toy", classes=classes, scenes=(*scenes, val))


def labels_of(data: Dataset) -> dict[str, tuple[str, ...]]:
    return {scene.name: scene.labels for scene in data.scenes}


def protocol(setting: str = "overlapped", **more) -> IncrementalProtocol:
    return IncrementalProtocol(name="p", setting=setting, groups=[["c1"], [2, "c3"]], **more)


SHOWS = {"only1": (1,), "only2": (2,), "both": (1, 3), "later": (4,), "two4": (2, 4), "none": ()}


def test_members_are_names_numbers_and_ranges():
    mixed = IncrementalProtocol(name="p", groups=[["1-2"], ["C4", 3]])
    assert mixed.classes_of(dataset()) == (("c1", "c2"), ("c4", "c3"))


@pytest.mark.parametrize(
    ("groups", "fault"),
    [
        ([["1-5"]], "not among the numbers 1 to 4"),
        ([[0]], "not among"),
        ([["c1"], ["road"]], r"no class of interest is called \['road'\]"),
        ([["c1"], ["background"]], "no class of interest"),
        ([["c1"], ["1-2"]], r"in two groups: \['c1'\]"),
    ],
)
def test_groups_that_do_not_fit_the_data_are_named(groups, fault):
    with pytest.raises(InvalidParameterError, match=fault):
        IncrementalProtocol(name="p", groups=groups).classes_of(dataset())


def test_each_setting_chooses_its_scenes():
    data = dataset(shows=SHOWS)
    overlapped = split_tasks(data, protocol(), labels_of(data))
    assert overlapped.classes == (("c1",), ("c2", "c3"))
    assert overlapped.scenes == (("only1", "both"), ("only2", "both", "two4"))
    disjoint = split_tasks(data, protocol("disjoint"), labels_of(data))
    assert disjoint.scenes == (("only1",), ("only2", "both", "two4"))


def test_disjoint_tasks_never_see_a_later_class_and_share_no_scene():
    shows = {f"s{i}": tuple(c for c in (1, 2, 3, 4) if (i >> (c - 1)) & 1) for i in range(1, 16)}
    data = dataset(shows=shows)
    four = IncrementalProtocol(name="p", setting="disjoint", groups=[[1], [2], [3], [4]])
    manifest = split_tasks(data, four, labels_of(data))
    flat = [name for task in manifest.scenes for name in task]
    assert sorted(flat) == sorted(shows)
    for task, members in enumerate(manifest.scenes):
        for name in members:
            assert max(shows[name]) == task + 1


def test_a_partition_is_drawn_by_its_seed_and_does_not_move_when_a_scene_goes():
    shows = {f"s{i}": (1, 2) for i in range(60)}
    data = dataset(shows=shows)

    def parts(seed: int, of: Dataset = data):
        return split_tasks(of, protocol("partitioned", seed=seed), labels_of(of))

    one, again, other = parts(0), parts(0), parts(1)
    assert one == again
    assert one.manifest_hash == again.manifest_hash
    assert one.scenes != other.scenes
    assert sorted([*one.scenes[0], *one.scenes[1]]) == sorted(shows)
    assert all(len(task) > 15 for task in one.scenes)
    fewer = dataset(shows={name: labels for name, labels in shows.items() if name != "s7"})
    assert [[n for n in task if n != "s7"] for task in one.scenes] == [
        list(s) for s in parts(0, fewer).scenes
    ]


def test_the_hash_knows_the_data_the_setting_and_the_groups():
    data, moved = dataset(shows=SHOWS), dataset(shows={**SHOWS, "more": (1,)})
    hashes = {
        split_tasks(data, protocol(), labels_of(data)).manifest_hash,
        split_tasks(moved, protocol(), labels_of(moved)).manifest_hash,
        split_tasks(data, protocol("disjoint"), labels_of(data)).manifest_hash,
    }
    assert len(hashes) == 3


def test_tasks_without_scenes_and_scenes_without_labels_are_named():
    data = dataset(shows={"a": (1,)})
    with pytest.raises(DatasetError, match=r"no training scene of 'toy' for the classes \[\['c2', 'c3'\]\]"):
        split_tasks(data, protocol(), labels_of(data))
    with pytest.raises(DatasetError, match="which classes scene 'a' shows"):
        split_tasks(data, protocol(), {})


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("voc-19-1", [19, 1]),
        ("voc-15-5", [15, 5]),
        ("voc-15-1", [15, 1, 1, 1, 1, 1]),
        ("voc-10-10", [10, 10]),
        ("ade-100-50", [100, 50]),
        ("ade-100-10", [100, 10, 10, 10, 10, 10]),
        ("ade-50-50", [50, 50, 50]),
        ("ade-100-50-b", [100, 50]),
        ("ade-100-10-b", [100, 10, 10, 10, 10, 10]),
        ("ade-50-50-b", [50, 50, 50]),
    ],
)
def test_the_papers_protocols_cover_their_data_sets_once(name, sizes):
    found = read_protocol(name)
    groups = found.classes_of(dataset(n_classes=150 if name.startswith("ade") else 20))
    assert [len(group) for group in groups] == sizes
    assert len({one for group in groups for one in group}) == sum(sizes)


def test_every_protocol_that_is_shipped_reads_under_its_own_name():
    for name in protocol_names():
        assert read_protocol(name).name == name
        assert read_protocol(name, "disjoint").setting == "disjoint"


def test_a_protocol_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ngroups:\n  - [c1, c2]\n  - [c3]\n")
    assert read_protocol(file).classes_of(dataset()) == (("c1", "c2"), ("c3",))
    file.write_text("name: mine\ngroups:\n  - [c1]\n  - [c1]\nsetting: mixed\n")
    with pytest.raises(InvalidParameterError, match="setting"):
        read_protocol(file)
    file.write_text("- 1\n")
    with pytest.raises(InvalidParameterError, match="must be a mapping"):
        read_protocol(file)
    with pytest.raises(InvalidParameterError, match="voc-15-1"):
        read_protocol("voc-15-2")
