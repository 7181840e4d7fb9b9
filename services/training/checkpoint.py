"""A checkpoint on disk: a complete model folder, the optimiser's state, and how far the training is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel
from safetensors.torch import load_file

from icss_core.networks.model_folder import WEIGHTS, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from icss_core.losses import Prototypes
    from icss_core.networks.model_folder import ModelCard
    from icss_core.networks.segmenter import Segmenter
    from icss_core.training import Fit

MODEL_FOLDER = "model"
_STATE = "state.pt"
_PROGRESS = "progress.json"


class Progress(BaseModel):
    """How far a training is."""

    step: int
    iterations: int
    """Iterations in all, which a time budget may have made fewer than were asked for."""
    seconds: float
    """Time trained so far, over all starts."""


def save_checkpoint(
    folder: Path,
    network: Segmenter,
    card: ModelCard,
    fit: Fit,
    progress: Progress,
    *,
    prototypes: Prototypes | None = None,
) -> None:
    """Write a checkpoint into an empty folder; the last one with the prototypes, if they are kept."""
    importances = None
    if fit.anchor is not None:
        weights = {name: one.detach() for name, one in network.named_parameters()}
        importances = fit.anchor.gatherer.result(weights)
    save_model(folder / MODEL_FOLDER, network, card, importances=importances, prototypes=prototypes)
    torch.save(fit.state_dict(), folder / _STATE)
    (folder / _PROGRESS).write_text(progress.model_dump_json())


def load_checkpoint(folder: Path, network: Segmenter, fit: Fit) -> Progress:
    """Bring network and fit to where the checkpoint was taken. Nothing in it is executed."""
    network.load_state_dict(load_file(folder / MODEL_FOLDER / WEIGHTS))
    fit.load_state_dict(torch.load(folder / _STATE, map_location=fit.device, weights_only=True))
    return Progress.model_validate_json((folder / _PROGRESS).read_text())
