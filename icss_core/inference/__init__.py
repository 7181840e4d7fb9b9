"""Class maps of rasters of any size: windows in, blended and reduced rows out."""

from icss_core.inference.multi_scale import MultiScale
from icss_core.inference.predict_raster import predict_raster
from icss_core.inference.prepare import PreparedNetwork, prepare_for_inference
from icss_core.inference.sinks import ArraySink, RowSink
from icss_core.inference.sliding_window import predict
from icss_core.inference.tiling import DEFAULT_TILING, PAPER_TILING, Tiling

__all__ = [
    "DEFAULT_TILING",
    "PAPER_TILING",
    "ArraySink",
    "MultiScale",
    "PreparedNetwork",
    "RowSink",
    "Tiling",
    "predict",
    "predict_raster",
    "prepare_for_inference",
]
