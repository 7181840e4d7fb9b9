"""Label spaces grow at their end and keep what they promised."""

import pytest
from pydantic import ValidationError

from icss_core.errors import ClassExistsError, UnknownClassError
from icss_core.labels import ClassInfo, LabelSpace

ROADS = LabelSpace(
    classes=(ClassInfo(name="background", colour=(0, 0, 0)), ClassInfo(name="road", colour=(9, 9, 9)))
)
BUILDING = ClassInfo(name="building", colour=(200, 0, 0))


def test_extension_keeps_old_indices_and_the_old_space():
    grown = ROADS.extend(BUILDING, ClassInfo(name="tree", colour=(0, 99, 0)))
    assert grown.names == ("background", "road", "building", "tree")
    assert [grown.index(name) for name in ROADS.names] == [0, 1]
    assert grown.classes_of_interest == (1, 2, 3)
    assert grown.colours[2] == (200, 0, 0)
    assert len(ROADS) == 2


def test_taken_names_are_refused_whatever_their_case():
    with pytest.raises(ClassExistsError, match="'ROAD' is already in the label space"):
        ROADS.extend(ClassInfo(name="ROAD", colour=(1, 1, 1)))
    with pytest.raises(ClassExistsError):
        ROADS.extend(BUILDING, BUILDING)


def test_unknown_class_lists_the_known_ones():
    assert ROADS.index("Road") == 1
    with pytest.raises(UnknownClassError, match=r"'river'.*background.*road"):
        ROADS.index("river")


@pytest.mark.parametrize(
    ("name", "colour"), [("", (0, 0, 0)), (" road", (0, 0, 0)), ("x" * 65, (0, 0, 0)), ("road", (0, 0, 256))]
)
def test_bad_names_and_colours_are_refused(name, colour):
    with pytest.raises(ValidationError):
        ClassInfo(name=name, colour=colour)


def test_equal_names_cannot_be_built_and_json_round_trips():
    with pytest.raises(ValidationError, match="must differ"):
        LabelSpace(classes=(*ROADS.classes, ClassInfo(name="Road", colour=(1, 1, 1))))
    assert LabelSpace.model_validate_json(ROADS.model_dump_json()) == ROADS
