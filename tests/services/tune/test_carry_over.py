"""A carry-over sweep: rows against sums made by hand, and what its file may say."""

import pytest
import yaml
from test_spec import FOLDER

from icss_core.errors import InvalidParameterError
from icss_core.evaluation import CarriedScore
from icss_core.evaluation.interactive import ImageScore
from services.tune.carry_over.case import district_of
from services.tune.carry_over.row import Warned, rows_of
from services.tune.carry_over.spec import CarryOverSweep
from services.tune.carry_over.table import CARRY_OVER_TABLE
from services.tune.carry_over.trial import CarryOverTrial
from services.tune.read_spec import read_spec
from services.tune.table import to_csv, to_markdown


def trial(what: str, seed: int = 0, **changes) -> CarryOverTrial:
    numbers = {"clicked_images": 1, "context_images": 1, "annotations": 30} if what == "update" else {}
    return CarryOverTrial(
        case="case", variant=what, what=what, seed=seed, dataset="s3://d/dataset.yaml", manifest_hash="0",
        old=("road",), new="roof", district="^.", clicked="a", network=("m", 1), **numbers, **changes,
    )  # fmt: skip


def score(
    image: str, relation: str, *, ground=None, road=None, roof=None, context=False, warned=False
) -> CarriedScore:
    iou = {"background": ground, "road": road, "roof": roof}
    there = [value for value in iou.values() if value is not None]
    return CarriedScore(
        image=image, district=image[0], relation=relation, in_context=context, mapped={}, seconds=4.0,
        warned=warned, score=ImageScore(iou=iou, mean=sum(there) / len(there)),
    )  # fmt: skip


MEMORY = [
    score("a1", "same district", ground=0.5, road=0.5, roof=0.0),
    score("a2", "same district", ground=0.6, road=0.4, roof=0.0),
    score("b1", "other district", ground=0.8),
    score("b2", "other district", ground=0.4, road=0.2, roof=0.0),
]
CONTROL = [
    score(one.image, one.relation, **({"ground": 0.5} if one.image == "b1" else {"ground": 0.5, "roof": 0.8}))
    for one in MEMORY
]
FIRST = [
    score("a1", "clicked", ground=0.7, road=0.6, roof=0.8),
    score("a2", "same district", ground=0.5, road=0.4, roof=0.6, context=True),
    score("b1", "other district", ground=0.5, context=True, warned=True),
    score("b2", "other district", ground=0.4, road=0.1, roof=0.2),
]
SECOND = [
    score("a1", "same district", ground=0.5, road=0.5, roof=0.4),
    score("a2", "clicked", ground=0.7, road=0.6, roof=0.9),
    score("b1", "other district", ground=0.9, context=True, warned=True),
    score("b2", "other district", ground=0.4, road=0.2, roof=0.4),
]


@pytest.fixture
def rows():
    trials = [trial("memory"), trial("control"), trial("update"), trial("update", seed=1)]
    results = dict(zip((one.trial_id for one in trials), (MEMORY, CONTROL, FIRST, SECOND), strict=True))
    return rows_of(trials, results)


def test_a_row_is_as_reckoned_by_hand(rows) -> None:
    memory, control, update = rows
    assert (memory.old_change, memory.worst, memory.worse, memory.of_control) == (None,) * 4
    assert control.iou["roof"].mean == pytest.approx(0.8)
    assert update.seeds == 2
    assert update.clicked_new.mean == pytest.approx(0.85)
    assert update.clicked_change.mean == pytest.approx((0.15 + 0.15) / 2)
    assert update.new_in_district.mean == pytest.approx((0.6 + 0.4) / 2)
    assert update.new_elsewhere.mean == pytest.approx((0.2 + 0.4) / 2)
    # means of old classes: a2 0.45 from 0.5, b1 0.5 from 0.8, b2 0.25 from 0.3; then 0, +0.1 and 0
    assert update.old_change.mean == pytest.approx(((-0.05 - 0.3 - 0.05) / 3 + 0.1 / 3) / 2)
    assert update.old_change_apart.mean == pytest.approx((-0.05 + 0.0) / 2)
    assert (update.worst.image, update.worst.change) == ("b1", pytest.approx(-0.3))
    # b1 of the first seed: 0.5 from 0.8; all others gained by the new class
    assert (update.worse, update.unclicked) == (1, 6)
    # of the context images b1 of the first seed is worse, a2 and b1 of the second are not
    assert update.warned == Warned(worse=1, worse_named=1, sound=2, sound_named=1)
    assert memory.warned is None
    assert update.of_control == pytest.approx(((0.6 + 0.2 + 0.4 + 0.4) / 4) / 0.8)
    assert update.iou["roof"].mean == pytest.approx(((0.6 + 0.2) / 2 + (0.4 + 0.4) / 2) / 2)


def test_the_table_names_the_worst_image(rows) -> None:
    text = to_markdown(rows, CARRY_OVER_TABLE, question="which?")
    (line,) = [line for line in text.splitlines() if line.startswith("| update")]
    assert "-30.0 (b1)" in line
    assert "1 of 6" in line
    assert "| 1 of 1 worse, 1 of 2 others |" in line
    assert "b1" in to_csv(rows, CARRY_OVER_TABLE)


def test_another_choice_of_images_is_another_row_and_trial() -> None:
    one = trial("update")
    for change in ({"clicked_images": 2}, {"context_images": 0}, {"annotations": 3}):
        other = one.model_copy(update=change)
        assert other.row_key != one.row_key
        assert other.trial_id != one.trial_id
    assert trial("update", seed=1).row_key == one.row_key


def test_districts_are_found_in_names() -> None:
    assert district_of("t7_part001", r"^t\d+") == "t7"
    assert district_of("part001", r"^t\d+") == ""


@pytest.mark.parametrize("scale", [None, "cpu", "smoke"])
def test_the_file_is_a_sweep(scale) -> None:
    spec = read_spec(FOLDER / "icss_carry_over.yaml", scale)
    assert isinstance(spec, CarryOverSweep)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"district": "("}, "no regular expression"),
        ({"old": ["building"]}, "both old and new"),
        ({"clicked": ""}, "at least 1 character"),
    ],
)
def test_a_case_that_cannot_be_is_refused(tmp_path, change, said) -> None:
    text = (FOLDER / "icss_carry_over.yaml").read_text()
    case = {"dataset": "d", "old": ["road"], "new": "building", "district": "t", "clicked": "t8", **change}
    content = yaml.safe_load(text)
    content["cases"] = [case]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InvalidParameterError, match=said):
        read_spec(tmp_path / "sweep.yaml")
