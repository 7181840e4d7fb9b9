"""A data set: the content of dataset.yaml, which describes the scenes stored beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import numpy as np
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from icss_core.errors import DatasetError, UnknownClassError, faults_of
from icss_core.labels import BACKGROUND, IGNORE, ClassInfo, LabelSpace, check_number_of_classes, name_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

# libyaml, where PyYAML was built with it: ten times as fast, with the same result
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Split = Literal["train", "val", "test"]
BACKGROUND_CLASS = ClassInfo(name="background", colour=(160, 160, 160))
"""The class that stands for everything a model is not asked to tell apart."""


class Scene(BaseModel):
    """One raster of a data set, with its mask if there is one.

    Addresses are relative to the folder of dataset.yaml, or whole (`s3://...`, `/...`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, pattern=r"^[\w.-]+$")]
    image: Annotated[str, Field(min_length=1)]
    mask: str | None = None
    maps: dict[str, str] = Field(default_factory=dict)
    """Addresses of maps, further information about each pixel, by name: one band of uint8 on the grid of the
    image, 255 times a value in [0, 1]. `objectness`: how likely a pixel belongs to an object."""
    height: Annotated[int, Field(gt=0)] | None = None
    width: Annotated[int, Field(gt=0)] | None = None
    """Size of the rasters in pixels; None where not stated: then a raster is opened to find out."""
    split: Split = "train"
    labels: tuple[str, ...] | None = None
    """Image-level labels: names of the classes that occur somewhere in the scene; None where not stated."""
    checksum: str | None = None
    """SHA-256 of the bytes of image, mask and maps, of those there are, one after another, so that the
    manifest's hash covers the pixels."""

    @model_validator(mode="before")
    @classmethod
    def _objectness_is_a_map(cls, content: Any) -> Any:
        """Reads the old field `objectness: ADDRESS`, from before scenes had maps of any name."""
        if isinstance(content, dict) and "objectness" in content:
            rest = {key: value for key, value in content.items() if key != "objectness"}
            if content["objectness"] is not None:
                rest["maps"] = {"objectness": content["objectness"], **rest.get("maps", {})}
            return rest
        return content

    @field_validator("maps")
    @classmethod
    def _maps_stay_inside(cls, maps: dict[str, str]) -> dict[str, str]:
        for address in maps.values():
            cls._stays_inside(address)
        return maps

    @field_validator("image", "mask")
    @classmethod
    def _stays_inside(cls, address: str | None) -> str | None:
        if address is not None and ".." in PurePosixPath(address).parts:
            raise ValueError(f"address {address!r} leaves the data set's folder")
        return address

    def may_show(self, name: str) -> bool:
        """Whether a class may occur in the scene; False only where its labels say that it does not."""
        return self.labels is None or name_key(name) in map(name_key, self.labels)

    @model_validator(mode="after")
    def _whole_size(self) -> Self:
        if (self.height is None) != (self.width is None):
            raise ValueError(f"scene {self.name!r} needs both height and width, or neither")
        return self

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width in pixels; None where not stated."""
        return None if self.height is None or self.width is None else (self.height, self.width)


class Dataset(BaseModel):
    """Scenes with one label space; index 0 of masks and classes is the background."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    classes: LabelSpace
    scenes: Annotated[tuple[Scene, ...], Field(min_length=1)]
    notes: str = ""
    base: Annotated[str, Field(exclude=True)] = ""
    """Folder that relative addresses start from; where the file lies, so not part of it."""

    @field_validator("classes", mode="before")
    @classmethod
    def _classes_from_list(cls, value: Any) -> Any:
        return {"classes": value} if isinstance(value, list | tuple) else value

    @field_serializer("classes")
    def _classes_to_list(self, value: LabelSpace) -> list[dict[str, Any]]:
        return [{"name": info.name, "colour": list(info.colour)} for info in value.classes]

    @model_validator(mode="after")
    def _scenes_agree(self) -> Self:
        names = {name_key(name) for name in self.classes.names}
        seen: set[str] = set()
        for scene in self.scenes:
            if scene.name in seen:
                raise ValueError(f"two scenes are named {scene.name!r}")
            seen.add(scene.name)
            unknown = sorted(name for name in set(scene.labels or ()) if name_key(name) not in names)
            if unknown:
                raise ValueError(f"scene {scene.name!r} has labels that are no class of the set: {unknown}")
        return self

    @classmethod
    def from_yaml(cls, text: str | bytes, *, base: str = "") -> Dataset:
        """Read the text of a dataset.yaml.

        Args:
            text: The file's content.
            base: Folder the file came from (`s3://bucket/prefix`, a path), used by `address`.

        Raises:
            DatasetError: not YAML, or a field is missing, unknown or wrong; the message says which.
        """
        where = f"{base}/dataset.yaml" if base else "dataset.yaml"
        try:
            content = yaml.load(text, Loader=_LOADER)  # noqa: S506 - both are safe loaders
        except yaml.YAMLError as error:
            raise DatasetError(f"{where} is not YAML: {error}") from error
        if not isinstance(content, dict):
            raise DatasetError(f"{where} must be a mapping with name, classes and scenes")
        try:
            return cls.model_validate({**content, "base": base})
        except ValidationError as error:
            raise DatasetError(f"{where} is not a data set: {faults_of(error)}") from error

    def to_yaml(self) -> str:
        """The text of dataset.yaml; `from_yaml` gives back an equal data set."""
        content = self.model_dump(mode="json", exclude_none=True)
        text: str = yaml.dump(content, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=100)
        return text

    @property
    def manifest_hash(self) -> str:
        """SHA-256 (hexadecimal) of the canonical JSON; the same wherever the data set lies.

        Sizes are not part of it: they follow from the pixels, and adding them later does not make another
        data set.
        """
        content = self.model_dump(mode="json", exclude={"scenes": {"__all__": {"height", "width"}}})
        for scene in content["scenes"]:
            if not scene["maps"]:  # data sets had hashes before scenes had this field
                del scene["maps"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def scenes_of(self, split: Split) -> tuple[Scene, ...]:
        """The scenes of one split, in the file's order."""
        return tuple(scene for scene in self.scenes if scene.split == split)

    def address(self, relative: str) -> str:
        """Whole address of one of a scene's rasters."""
        if "://" in relative or relative.startswith("/") or not self.base:
            return relative
        return f"{self.base.rstrip('/')}/{relative}"

    def select(self, names: Sequence[str]) -> LabelSpace:
        """Label space of a model that tells only the named classes apart; all others are its background.

        Raises:
            DatasetError: a name is not a class of this set.
            TooManyClassesError: more classes than there may be.
        """
        return LabelSpace(
            classes=(BACKGROUND_CLASS, *(self.classes.classes[index] for index in self._indices(names)))
        )

    def lookup(
        self, names: Sequence[str], *, hidden: Sequence[str] = (), other_label: int = BACKGROUND
    ) -> npt.NDArray[np.uint8]:
        """Table from this set's mask values to the indices of `select(names)`.

        Args:
            names: classes of a model, in its order.
            hidden: names among them that are treated as if not named, such as classes of earlier tasks.
            other_label: index for the classes that are not named: background, or 255 (ignored) for sparse
                labels.

        Returns:
            (256,) uint8: `table[mask]` translates a mask (H, W) uint8. Ignore stays ignore, and so does a
            value that no class has.

        Raises:
            DatasetError: a name is not a class of this set.
        """
        table = np.full(256, IGNORE, dtype=np.uint8)
        table[: len(self.classes)] = other_label
        table[BACKGROUND] = BACKGROUND
        for target, index in enumerate(self._indices(names), start=1):
            table[index] = target
        table[self._indices(hidden)] = other_label
        return table

    def _indices(self, names: Sequence[str]) -> list[int]:
        check_number_of_classes(1 + len(names))
        try:
            indices = [self.classes.index(name) for name in names]
        except UnknownClassError as error:
            raise DatasetError(f"data set {self.name!r}: {error}") from error
        if any(name_key(name) == BACKGROUND_CLASS.name for name in names):
            raise DatasetError(
                f"data set {self.name!r}: 'background' is class 0 of every model and is not listed"
            )
        if len(set(indices)) != len(indices):
            raise DatasetError(f"data set {self.name!r}: a class is named twice in {list(names)}")
        return indices
