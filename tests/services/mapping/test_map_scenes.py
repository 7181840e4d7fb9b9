"""Which images a mapping job takes, and what their maps are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from icss_core.dataset import BACKGROUND_CLASS, Dataset, Scene
from icss_core.errors import InvalidParameterError
from icss_core.labels import ClassInfo
from services.errors import MalformedUriError, UriNotAllowedError
from services.mapping.request import MapRequest
from services.mapping.scenes import find_scenes

if TYPE_CHECKING:
    from services.storage import Storage

BASE = "s3://icss/listed"


@pytest.fixture(scope="module")
def listed(storage: Storage) -> Storage:
    """Objects whose names are all that counts."""
    for name in (
        "a/one.tif", "a/two.TIF", "a/two.txt", "a/.hidden/three.tif", "b/one.tif", "b/one.jpg",
        "b/deep/four.png", "out/one.tif", "c/one.tif",
    ):  # fmt: skip
        storage.write_bytes(f"{BASE}/{name}", b"?")
    storage.write_bytes(f"{BASE}/list.txt", f"# a comment\n{BASE}/a/one.tif\n\n{BASE}/b/one.tif\n".encode())
    scenes = [Scene(name="first", image="a/one.tif"), Scene(name="second", image=f"{BASE}/b/one.tif")]
    classes = [BACKGROUND_CLASS, ClassInfo(name="road", colour=(1, 2, 3))]
    text = Dataset(name="listed", classes=classes, scenes=scenes).to_yaml()
    storage.write_bytes(f"{BASE}/dataset.yaml", text.encode())
    return storage


def names(storage: Storage, *images: str, pattern: str = "*") -> dict[str, str]:
    """Names of maps by the path of their image."""
    request = MapRequest(model="town", version=1, images=images, pattern=pattern, out=f"{BASE}/out")
    return {one.address.removeprefix(f"{BASE}/"): one.name for one in find_scenes(request, storage)}


def test_prefix_gives_its_images_by_their_paths(listed: Storage) -> None:
    assert names(listed, f"{BASE}/a/") == {"a/one.tif": "one", "a/two.TIF": "two"}
    assert names(listed, f"{BASE}/a") == names(listed, f"{BASE}/a/")


def test_images_that_differ_by_their_extension_keep_it(listed: Storage) -> None:
    found = names(listed, f"{BASE}/b")
    assert found == {"b/deep/four.png": "deep/four", "b/one.jpg": "one.jpg", "b/one.tif": "one.tif"}


def test_maps_of_the_job_are_no_images(listed: Storage) -> None:
    found = names(listed, BASE)
    assert set(found) == {"a/one.tif", "a/two.TIF", "b/deep/four.png", "b/one.jpg", "b/one.tif", "c/one.tif"}


def test_pattern_chooses_by_the_path(listed: Storage) -> None:
    assert set(names(listed, BASE, pattern="?/one.tif")) == {"a/one.tif", "b/one.tif", "c/one.tif"}
    with pytest.raises(InvalidParameterError, match=r"no images .* 'z\*'"):
        names(listed, BASE, pattern="z*")


def test_list_and_single_images_are_called_by_what_differs(listed: Storage) -> None:
    expected = {"a/one.tif": "a/one", "b/one.tif": "b/one"}
    assert names(listed, f"{BASE}/list.txt") == expected
    assert names(listed, f"{BASE}/a/one.tif", f"{BASE}/b/one.tif") == expected
    assert names(listed, f"{BASE}/a/one.tif") == {"a/one.tif": "one"}


def test_data_set_gives_the_names_of_its_scenes(listed: Storage) -> None:
    assert names(listed, f"{BASE}/dataset.yaml") == {"a/one.tif": "first", "b/one.tif": "second"}


def test_image_that_is_named_twice_is_mapped_once(listed: Storage) -> None:
    assert names(listed, f"{BASE}/a/", f"{BASE}/a/one.tif") == {"a/one.tif": "one", "a/two.TIF": "two"}


def test_two_images_never_share_a_map(listed: Storage) -> None:
    with pytest.raises(
        InvalidParameterError, match=r"a/one.tif and .*c/one.tif would have the same map, one"
    ):
        names(listed, f"{BASE}/a/", f"{BASE}/c/")


def test_addresses_are_checked(listed: Storage) -> None:
    with pytest.raises(UriNotAllowedError, match="outside"):
        names(listed, "s3://elsewhere/a/")
    with pytest.raises(MalformedUriError, match="s3://"):
        MapRequest(model="town", version=1, images=("https://host/a.tif",), out=BASE)


def test_request_is_the_same_however_it_is_spread() -> None:
    one = MapRequest(model="town", version=1, images=(BASE,), out=f"{BASE}/out")
    spread = one.model_copy(update={"workers": 8, "gpu": True, "part_pixels": 5})
    other = one.model_copy(update={"confidence": True})
    assert one.identity == spread.identity != other.identity
    assert one.fingerprint == spread.fingerprint != other.fingerprint
    assert one.fingerprint == one.model_copy(update={"images": (f"{BASE}/a",)}).fingerprint
