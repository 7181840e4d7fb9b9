"""Networks: the segmenter, its head, its normalisation, and its files."""

from icss_core.networks.model_folder import ModelCard, load_model, read_card, save_model
from icss_core.networks.normalisation import Normalisation, estimate_normalisation, identity
from icss_core.networks.segmenter import Architecture, Segmenter, SegmenterOutput

__all__ = [
    "Architecture",
    "ModelCard",
    "Normalisation",
    "Segmenter",
    "SegmenterOutput",
    "estimate_normalisation",
    "identity",
    "load_model",
    "read_card",
    "save_model",
]
