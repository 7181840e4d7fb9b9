"""The card of the version that an update makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icss_core.labels import LabelSpace
    from icss_core.methods import Preset
    from icss_core.networks.model_folder import ModelCard
    from icss_core.networks.segmenter import Segmenter


def updated_card(
    memory: ModelCard,
    network: Segmenter,
    label_space: LabelSpace,
    preset: Preset,
    *,
    parent: str | None,
    code_version: str,
) -> ModelCard:
    """Bands, normalisation and data type stay those of the memory network's version.

    Args:
        memory: card of that version.
        network: what the update made.
        label_space: its classes.
        preset: by which it was made.
        parent: "NAME:VERSION" of the memory network; None: it is not registered.
        code_version: what made it.
    """
    return memory.model_copy(
        update={
            "architecture": network.architecture,
            "label_space": label_space,
            "method": preset.method,
            "preset": preset.name,
            "parameters": preset.model_dump(mode="json"),
            "parent": parent,
            "code_version": code_version,
            "artefacts": {},
        }
    )
