"""How a raster is cut into overlapping windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from icss_core.errors import InvalidParameterError
from icss_core.networks.input_size import STEP, USUAL, InputSize, check_side
from icss_core.raster.windows import Window, count_origins, origins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Blend = Literal["constant", "gaussian"]

SIZE_MULTIPLE: Final = STEP
"""Window sizes are multiples of this."""

OPEN_WIDTH: Final = 768
"""Columns whose sums are open together. Reducing them a few windows at a time saves starting the threads of
the processor several times for every window, which costs more than the arithmetic on a busy machine."""


BANDS_OF_A_PART: Final = 16
"""Rows of windows in a part of a raster, at least: one of them, about, is predicted for its neighbour too."""


class RowRange(NamedTuple):
    """Some of the rows of a raster."""

    first: int
    end: int
    """The first row that is not among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """Windows for sliding-window inference.

    Raises:
        InvalidParameterError: a number is outside its range.
    """

    window: int = 512
    """Side of a window in pixels, a multiple of 32."""
    overlap: int = 64
    """Pixels by which neighbouring windows overlap, less than `window`; the last ones of a row overlap
    more."""
    blend: Blend = "gaussian"
    """Weights of a window's pixels where windows overlap: all equal, or falling towards its edge."""
    batch: int = 16
    """Windows that reading may be ahead of the network. It costs memory and saves waiting; it changes no
    result, because how many windows go through the network at once follows from their size alone."""

    def __post_init__(self) -> None:
        if self.window < SIZE_MULTIPLE or self.window % SIZE_MULTIPLE:
            raise InvalidParameterError(f"window must be a multiple of {SIZE_MULTIPLE}, not {self.window}")
        if not 0 <= self.overlap < self.window:
            raise InvalidParameterError(f"overlap must be in 0 to {self.window - 1}, not {self.overlap}")
        if self.blend not in get_args(Blend):
            raise InvalidParameterError(f"blend must be one of {get_args(Blend)}, not {self.blend!r}")
        if self.batch < 1:
            raise InvalidParameterError(f"batch must be at least 1, not {self.batch}")

    def layout(self, height: int, width: int, size: InputSize = USUAL) -> Layout:
        """The windows of one raster.

        A raster smaller than a window gets a window just large enough, so that little is computed in vain.

        Args:
            height: of the raster, pixels.
            width: of the raster, pixels.
            size: what the network takes.

        Raises:
            InvalidParameterError: the network takes no windows of this size.
        """
        check_side(size, self.window, name="window")
        window_height, window_width = self._window_in(height, width, size)
        return Layout(
            height=height,
            width=width,
            window_height=window_height,
            window_width=window_width,
            bands=_bands(origins(height, self.window, self._stride)),
            cols=tuple(origins(width, self.window, self._stride)),
        )

    def network_pixels(
        self, height: int, width: int, scales: Sequence[float] | None = None, size: InputSize = USUAL
    ) -> int:
        """Pixels that go through the network for one raster, all windows and scales together.

        Computed from the sizes only, so that the cost of a prediction is known before anything is read.

        Args:
            height: of the raster, pixels.
            width: of the raster, pixels.
            scales: see `MultiScale`; None: as it is.
            size: what the network takes.
        """
        down = count_origins(height, self.window, self._stride)
        across = count_origins(width, self.window, self._stride)
        window_height, window_width = self._window_in(height, width, size)
        sizes = scaled_sizes(window_height, window_width, (1.0,) if scales is None else scales, size)
        return down * across * sum(rows * cols for rows, cols in sizes)

    def held_bytes(self, height: int, width: int, n_classes: int, size: InputSize = USUAL) -> int:
        """Bytes of the sums of logits that are held at once, about; see `StripAccumulator`.

        Args:
            height: of the raster, pixels.
            width: of the raster, pixels.
            n_classes: K.
            size: what the network takes.
        """
        window_height, window_width = self._window_in(height, width, size)
        shared = self.overlap * width if height > self.window else 0
        open_width = min(max(window_width, OPEN_WIDTH), max(width, window_width))
        return 4 * n_classes * (2 * window_height * open_width + shared)

    @property
    def _stride(self) -> int:
        return self.window - self.overlap

    def _window_in(self, height: int, width: int, size: InputSize) -> tuple[int, int]:
        """Height and width of the windows of a raster: smaller where the raster is."""
        return min(self.window, size.fitting(height)), min(self.window, size.fitting(width))


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The windows of a raster of `height` x `width` pixels: one size, on a grid of rows and columns."""

    height: int
    width: int
    window_height: int
    window_width: int
    bands: tuple[tuple[int, ...], ...]
    """Rows of windows that are visited together, column by column, as tuples of their first rows, ascending.

    Each row of windows is a band, with one exception: the last row is shifted up to end with the raster, and
    may overlap nearly all of the one before. These two make one band, so that their overlap is not kept over
    the whole width."""
    cols: tuple[int, ...]
    """First columns of the windows, ascending."""

    @property
    def rows(self) -> tuple[int, ...]:
        """First rows of the windows, ascending."""
        return tuple(row for band in self.bands for row in band)

    def parts(self, pixels: int) -> tuple[RowRange, ...]:
        """Rows that can be predicted apart from each other, in parts of about equal size, top to bottom.

        Next to a cut, windows are predicted for both parts; so a part has `BANDS_OF_A_PART` bands at least.

        Args:
            pixels: of the largest part, about.
        """
        wanted = -(-self.height * self.width // pixels)
        count = max(1, min(wanted, len(self.bands) // BANDS_OF_A_PART))
        starts = [self.bands[len(self.bands) * part // count][0] for part in range(count)]
        return tuple(RowRange(first, end) for first, end in pairwise([*starts, self.height]))

    def only(self, part: RowRange) -> Layout:
        """The windows that these rows need, as the layout of a raster that ends with them.

        Its first bands may begin above the part: their windows reach into it.

        Args:
            part: one that `parts` gives, or any other that begins and ends with a band.

        Raises:
            InvalidParameterError: it begins or ends within a band.
        """
        starts = [band[0] for band in self.bands]
        ends = [*starts[1:], self.height]
        if part.first not in starts or part.end not in ends or part.first >= part.end:
            raise InvalidParameterError(f"rows {part.first} to {part.end - 1} are not whole bands of windows")
        bands = tuple(
            band for band in self.bands if band[-1] + self.window_height > part.first and band[0] < part.end
        )
        return replace(self, height=part.end, bands=bands)

    def __len__(self) -> int:
        return len(self.rows) * len(self.cols)

    def __iter__(self) -> Iterator[Window]:
        """Windows band by band; within a band from left to right, and in one column from top to bottom."""
        for band in self.bands:
            for col in self.cols:
                for row in band:
                    yield Window(row, col, self.window_height, self.window_width)


def _bands(rows: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Rows of windows as bands; see `Layout.bands`."""
    steps = {after - before for before, after in pairwise(rows)}
    if len(rows) == 1 or (len(rows) > 2 and len(steps) == 1):
        return tuple((row,) for row in rows)
    return (*((row,) for row in rows[:-2]), tuple(rows[-2:]))


PAPER_TILING: Final = Tiling(window=256, overlap=128, blend="constant")
"""ICSS (Lenczner et al., 2022): 256-pixel windows, 50 % overlap, plain averages."""
DEFAULT_TILING: Final = Tiling()
"""A third of the paper's network passes: 1.3 per pixel instead of 4."""


def scaled_sizes(
    height: int, width: int, scales: Sequence[float], size: InputSize = USUAL
) -> tuple[tuple[int, int], ...]:
    """Sizes at which a window of `height` x `width` is looked at: multiples of 32, each once.

    Scale 1 is the window as it is.

    Args:
        height: pixels.
        width: pixels.
        scales: see `MultiScale`.
        size: what the network takes.
    """
    return tuple(
        dict.fromkeys(
            (height, width) if scale == 1 else (size.nearest(height * scale), size.nearest(width * scale))
            for scale in scales
        )
    )
