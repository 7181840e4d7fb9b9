"""A model version on disk: `weights.safetensors`, `model.json`, and what a later task needs.

No pickle is read or written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from icss_core.errors import ModelFormatError
from icss_core.labels import LabelSpace
from icss_core.networks.normalisation import Normalisation
from icss_core.networks.segmenter import Architecture, Segmenter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FORMAT_VERSION: Final = 1
WEIGHTS = "weights.safetensors"
CARD = "model.json"
_ARTEFACT = re.compile(r"[a-z][a-z0-9_-]{0,40}")


class ModelCard(BaseModel):
    """Everything about a model version but its weights; written as `model.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    architecture: Architecture
    normalisation: Normalisation
    label_space: LabelSpace
    dtype: str | None = None
    """dtype of the images the network was trained on; others are refused (`compatibility.check_image`). None:
    several, or not known, and any is taken."""
    activation: Literal["softmax"] = "softmax"
    method: str | None = None
    """How the version was made: a method of `icss_core.methods`, or "pretraining"."""
    preset: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Every number of the preset after overrides."""
    parent: str | None = None
    """"name:version" of the memory network this version was made from."""
    artefacts: dict[str, str] = Field(default_factory=dict)
    """Files beside the weights by what they hold (prototypes of classes, importances of weights)."""
    code_version: str | None = None

    @property
    def files(self) -> frozenset[str]:
        """Names of everything that belongs into the folder."""
        return frozenset({CARD, WEIGHTS, *self.artefacts.values()})

    @field_validator("artefacts")
    @classmethod
    def _files_are_plain_names(cls, artefacts: dict[str, str]) -> dict[str, str]:
        for name, file in artefacts.items():
            if file != f"{name}.safetensors" or not _ARTEFACT.fullmatch(name):
                raise ValueError(f"artefact {name!r} in a file {file!r}; it must be NAME.safetensors")
        return artefacts

    @model_validator(mode="after")
    def _classes_agree(self) -> ModelCard:
        if self.architecture.n_classes != len(self.label_space):
            raise ValueError(
                f"{self.architecture.n_classes} logits for the {len(self.label_space)} classes "
                f"{self.label_space.names}"
            )
        return self


def save_model(
    folder: Path | str,
    network: Segmenter,
    card: ModelCard,
    *,
    artefacts: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Path:
    """Write a model version into `folder` (created; must not hold one already).

    Args:
        folder: where to.
        network: what its weights are.
        card: everything else.
        artefacts: tensors kept beside the weights, by what they are and name; the card names their files.

    Raises:
        ModelFormatError: the folder holds a version, or card and network disagree.
    """
    folder = Path(folder)
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (network.architecture, network.normalisation) != (card.architecture, card.normalisation):
        raise ModelFormatError("the model card describes another network than the one to be saved")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    files = {}
    for name, tensors in (artefacts or {}).items():
        files[name] = f"{name}.safetensors"
        save_file(
            {key: one.detach().cpu().contiguous() for key, one in tensors.items()}, folder / files[name]
        )
    card = ModelCard.model_validate(card.model_dump() | {"artefacts": files})
    (folder / CARD).write_text(json.dumps(card.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    return folder


def check_free(folder: Path | str) -> None:
    """Refuse a folder that a version cannot be written into.

    Raises:
        ModelFormatError: the folder holds one.
    """
    if (Path(folder) / CARD).exists():
        raise ModelFormatError(f"{folder} already holds a model version; versions are never overwritten")


def read_card(folder: Path | str) -> ModelCard:
    """The model card alone, without touching the weights.

    Raises:
        ModelFormatError: no `model.json`, or one this code does not read.
    """
    path = Path(folder) / CARD
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelFormatError(f"{folder} has no {CARD}") from error
    except ValidationError as error:
        raise ModelFormatError(f"{path} is not a model card of format {FORMAT_VERSION}: {error}") from error


def load_model(folder: Path | str) -> tuple[Segmenter, ModelCard]:
    """Network (float32, on the CPU, in eval mode) and card of a model version.

    Raises:
        ModelFormatError: a file is missing or damaged, or weights and card disagree.
    """
    card = read_card(folder)
    # the stored weights replace whatever the encoder would have been initialised with
    bare = card.architecture.model_copy(update={"encoder_weights": None})
    network = Segmenter(bare, card.normalisation)
    network.architecture = card.architecture
    path = Path(folder) / WEIGHTS
    try:
        network.load_state_dict(load_file(path))
    except (FileNotFoundError, SafetensorError) as error:
        raise ModelFormatError(f"{path} is missing or damaged: {error}") from error
    except RuntimeError as error:
        raise ModelFormatError(f"{path} does not fit its model card: {error}") from error
    return network.eval(), card


def load_artefact(folder: Path | str, name: str) -> dict[str, Tensor] | None:
    """Tensors that a version keeps under a name; None where it keeps none.

    Raises:
        ModelFormatError: the file is missing or damaged.
    """
    file = read_card(folder).artefacts.get(name)
    if file is None:
        return None
    path = Path(folder) / file
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ModelFormatError(f"{path} is missing or damaged: {error}") from error
