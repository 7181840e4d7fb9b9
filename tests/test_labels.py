"""Label spaces grow at their end and keep what they promised."""

import unicodedata

import pytest
from pydantic import ValidationError

from icss_core.errors import ClassExistsError, TooManyClassesError, UnknownClassError
from icss_core.labels import ClassInfo, LabelSpace, name_key

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


SPELLINGS = [
    ("Hôpital", unicodedata.normalize("NFD", "HÔPITAL")),
    ("straße", "STRASSE"),
    ("ΟΔΌΣ", "οδός"),
    ("road", " Road\t"),
    ("parking lot", "parking\u00a0 lot"),  # as a spreadsheet has it
    ("\u2600", "\u2600\ufe0f"),  # the sun, from two keyboards
]


@pytest.mark.parametrize(("name", "typed"), SPELLINGS)
def test_a_class_is_found_by_every_spelling_of_its_name(name, typed):
    space = ROADS.extend(ClassInfo(name=name, colour=(1, 1, 1))) if name != "road" else ROADS
    assert name != typed
    assert name_key(name) == name_key(typed)
    assert space.index(typed) == space.index(name) == len(space) - 1


@pytest.mark.parametrize(("name", "typed"), SPELLINGS)
def test_two_spellings_of_a_name_are_one_class_too_many(name, typed):
    one, other = (ClassInfo(name=spelled.strip(), colour=(1, 1, 1)) for spelled in (name, typed))
    with pytest.raises(ValidationError, match="must differ in more than case"):
        LabelSpace(classes=(ROADS.classes[0], one, other))
    with pytest.raises(ClassExistsError, match="already in the label space"):
        LabelSpace(classes=(ROADS.classes[0], one)).extend(other)


NAMES = (
    *("trees, shrubs", "d'eau", "house (roof)", "crops, 50%", "a/b", "建物", "می\u200cکنم", "x" * 64, "#1"),
    *("\U0001f3e0", "\u2600\ufe0f", "\U0001f469\u200d\U0001f692", "\U0001fae8"),  # the last is of Unicode 15
)


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script_are_welcome(name):
    assert ClassInfo(name=name, colour=(0, 0, 0)).name == name
    assert ROADS.extend(ClassInfo(name=name, colour=(0, 0, 0))).index(name) == 2


def test_decomposed_names_are_kept_composed():
    assert ClassInfo(name=unicodedata.normalize("NFD", "forêt"), colour=(0, 0, 0)).name == "forêt"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("road\n", "white space"),
        ("\u3000", "white space"),
        ("ro\nad", r"control character, U\+000A"),
        ("ro\x00ad", r"U\+0000"),
        ("ro\x7fad", r"U\+007F"),
        ("ro\u200bad", r"invisible character, U\+200B"),
        ("ro\u00adad", r"invisible character, U\+00AD"),
        ("\u202eroad", r"invisible character, U\+202E"),
        ("\ufeffroad", r"U\+FEFF"),
        ("ro\u2028ad", r"line break, U\+2028"),
        ("ro\u2029ad", r"line break, U\+2029"),
        ("road\u0378", r"unassigned character, U\+0378"),
        ("\u3164", r"invisible character, U\+3164"),
        ("\u2800", r"U\+2800"),
        ("\u200d\ufe0f", "at least one letter"),
        ("\u0301", "at least one letter"),
        ("ro\ud800ad", "unicode|surrogate|half"),
        ("x" * 65, "64"),
    ],
)
def test_names_that_nobody_can_read_are_refused(name, match):
    with pytest.raises(ValidationError, match=match):
        ClassInfo(name=name, colour=(0, 0, 0))


def test_equal_names_cannot_be_built_and_json_round_trips():
    with pytest.raises(ValidationError, match="must differ"):
        LabelSpace(classes=(*ROADS.classes, ClassInfo(name="Road", colour=(1, 1, 1))))
    assert LabelSpace.model_validate_json(ROADS.model_dump_json()) == ROADS


def test_there_are_at_most_255_classes():
    full = LabelSpace(classes=tuple(ClassInfo(name=f"class {i}", colour=(1, 2, 3)) for i in range(255)))
    one_more = ClassInfo(name="one more", colour=(1, 2, 3))
    with pytest.raises(TooManyClassesError, match="256 classes; a model has at most 255"):
        full.extend(one_more)
    with pytest.raises(ValidationError, match="255"):
        LabelSpace(classes=(*full.classes, one_more))
    assert len(LabelSpace(classes=full.classes[:-1]).extend(one_more)) == 255
