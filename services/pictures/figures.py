"""Figures: panels with titles and one legend, drawn without a display and without global state."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from icss_core.errors import InvalidParameterError
from icss_core.labels import BACKGROUND, IGNORE
from services.pictures.layers import CHANGES, colourise, difference, overlay

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from icss_core.clicks.click_set import ClickSet
    from icss_core.labels import LabelSpace

    Rgb = npt.NDArray[np.uint8]
    Labels = npt.NDArray[np.uint8]

_MAX_SIDE = 1600
_MAX_COLUMNS = 9
_MARKS = "oDsv^<>P"


def clicks_picture(rgb: Rgb, clicks: ClickSet, classes: LabelSpace) -> bytes:
    """An image (H, W, 3) uint8 with the clicks on it, as PNG."""
    figure, (axes,) = _panels(1, rgb.shape)
    _show(axes, rgb, f"{len(clicks)} clicks")
    _mark(axes, clicks, classes, rgb.shape)
    _legend(figure, classes, clicks=clicks, shown=set(clicks.counts()))
    return _png(figure, classes.colours)


def map_picture(rgb: Rgb, labels: Labels, classes: LabelSpace, *, title: str, opacity: float = 0.55) -> bytes:
    """A class map (H, W) laid over its image (H, W, 3), as PNG; opacity 1 shows the map alone."""
    figure, (axes,) = _panels(1, rgb.shape)
    _show(axes, _layer(rgb, labels, classes, opacity), title)
    _legend(figure, classes)
    return _png(figure, classes.colours)


def steps_picture(
    rgb: Rgb,
    clicks: ClickSet,
    classes: LabelSpace,
    *,
    before: Labels,
    after: Labels,
    truth: Labels | None = None,
    titles: Sequence[str] = ("image and clicks", "before", "after", "truth"),
    opacity: float = 0.6,
) -> bytes:
    """Image with clicks, map before, map after and, if known, the truth, side by side two by two, as PNG.

    Args:
        rgb: (H, W, 3) uint8.
        clicks: Points of this image, labels as in `classes`.
        classes: Label space of the updated network.
        before: (H, W) uint8, the memory network's map.
        after: (H, W) uint8, the updated network's map.
        truth: (H, W) uint8, ground truth in `classes`; None where nobody knows it.
        titles: One for each panel.
        opacity: Of the maps over the image.

    Raises:
        InvalidParameterError: sizes differ.
    """
    maps = [before, after] if truth is None else [before, after, truth]
    figure, panels = _panels(1 + len(maps), rgb.shape)
    _show(panels[0], rgb, titles[0])
    _mark(panels[0], clicks, classes, rgb.shape)
    for axes, labels, title in zip(panels[1:], maps, titles[1:], strict=False):
        _show(axes, _layer(rgb, labels, classes, opacity), title)
    _legend(figure, classes, clicks=clicks)
    return _png(figure, classes.colours)


def grid_picture(
    rows: Sequence[Sequence[npt.NDArray[np.uint8]]],
    classes: LabelSpace,
    *,
    titles: Sequence[str],
    shown: set[int] | None = None,
) -> bytes:
    """Images in rows, methods in columns, as PNG: how results are compared by eye (ICSS, Figure 2).

    More columns than a screen shows go on below, with all images again.

    Args:
        rows: For each image its picture (H, W, 3) uint8 and class maps (H, W) uint8 of the same size.
        classes: Label space of the maps.
        titles: One for each column.
        shown: Indices of the classes in the legend; None: all but the background.

    Raises:
        InvalidParameterError: a row has another number of pictures than there are titles.
    """
    if any(len(row) != len(titles) for row in rows):
        raise InvalidParameterError(f"each row needs {len(titles)} pictures, for {list(titles)}")
    from matplotlib.figure import Figure

    side = 2.6
    heights = [min(max(row[0].shape[0] / row[0].shape[1], 0.3), 3.0) for row in rows]
    blocks = -(-len(titles) // _MAX_COLUMNS)
    columns = -(-len(titles) // blocks)
    size = (side * columns, blocks * (side * sum(heights) + 0.3) + 0.5)
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    grid = figure.add_gridspec(blocks * len(rows), columns, height_ratios=heights * blocks)
    for number, row in enumerate(rows):
        for place, (picture, title) in enumerate(zip(row, titles, strict=True)):
            block, column = divmod(place, columns)
            layer = picture if picture.ndim == 3 else colourise(picture, classes)
            axes = figure.add_subplot(grid[block * len(rows) + number, column])
            _show(axes, layer, title if number == 0 else "")
    _legend(figure, classes, shown=shown)
    return _png(figure, classes.colours)


def difference_picture(rgb: Rgb, before: Labels, after: Labels, *, n_old: int) -> bytes:
    """Where and how an update changed the map, over a pale image (H, W, 3), as PNG with shares."""
    changes = difference(before, after, n_old=n_old)
    known = int((changes != IGNORE).sum())
    figure, (axes,) = _panels(1, rgb.shape)
    shown = (rgb.mean(axis=-1, keepdims=True) * 0.5 + 120).repeat(3, axis=-1).astype(np.uint8)
    handles = []
    for value, (meaning, colour) in CHANGES.items():
        where = changes == value
        shown[where] = colour
        if where.any():
            handles.append(_swatch(colour, f"{meaning}: {100 * where.sum() / max(known, 1):.1f} %"))
    changed = int(((changes != 0) & (changes != IGNORE)).sum())
    _show(axes, shown, f"what changed: {100 * changed / max(known, 1):.1f} % of the image")
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return _png(figure, [colour for _, colour in CHANGES.values()])


def _panels(count: int, shape: tuple[int, ...]) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(count, 2)
    rows = -(-count // columns)
    side = 5.2 if count > 1 else 8.0
    aspect = min(max(shape[0] / shape[1], 0.3), 3.0)
    figure = Figure(
        figsize=(side * columns, (side * aspect + 0.35) * rows + 0.45), layout="constrained", dpi=110
    )
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(count)]
    return figure, axes


def _shrink(picture: Rgb) -> Rgb:
    """Every n-th pixel, so that the longer side is at most about 1600: a big raster need not fit a screen."""
    step = -(-max(picture.shape[:2]) // _MAX_SIDE)
    return picture[::step, ::step]


def _show(axes: Axes, picture: Rgb, title: str) -> None:
    height, width = picture.shape[:2]
    axes.imshow(_shrink(picture), extent=(0, width, height, 0), interpolation="antialiased")
    axes.set_title(title, fontsize=12)
    axes.set_axis_off()


def _layer(rgb: Rgb, labels: Labels, classes: LabelSpace, opacity: float) -> Rgb:
    if rgb.shape[:2] != labels.shape:
        raise InvalidParameterError(f"image {rgb.shape[:2]} and map {labels.shape} differ in size")
    return colourise(labels, classes) if opacity >= 1 else overlay(rgb, labels, classes, opacity=opacity)


def _mark(axes: Axes, clicks: ClickSet, classes: LabelSpace, shape: tuple[int, ...]) -> None:
    size = 34 if len(clicks) <= 100 else 16
    for label in clicks.counts():
        chosen = clicks.of([label])
        axes.scatter(
            chosen.cols + 0.5,
            chosen.rows + 0.5,
            s=size,
            marker=_MARKS[label % len(_MARKS)],
            color=_unit(classes.colours[label]),
            edgecolors="white",
            linewidths=0.9,
        )
    axes.set_xlim(0, shape[1])
    axes.set_ylim(shape[0], 0)


def _legend(
    figure: Figure, classes: LabelSpace, *, clicks: ClickSet | None = None, shown: set[int] | None = None
) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        _swatch(info.colour, _label(info.name))
        for index, info in enumerate(classes.classes)
        if index != BACKGROUND and (shown is None or index in shown)
    ]
    for label, count in ({} if clicks is None else clicks.counts()).items():
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker=_MARKS[label % len(_MARKS)],
                markersize=8,
                color=_unit(classes.colours[label]),
                markeredgecolor="#444444",
                label=f"{count} clicks: {_label(classes.names[label])}",
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False)


def _label(name: str) -> str:
    """A class name as matplotlib shows it: no mathematics, not hidden, a box for what its font lacks."""
    characters = _characters()
    shown = "".join(one if ord(one) in characters else "\N{WHITE SQUARE}" for one in name)
    shown = shown.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


@cache
def _characters() -> frozenset[int]:
    """Code points that the font has."""
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont(FontProperties())).get_charmap())


def _swatch(colour: tuple[int, int, int], label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=_unit(colour), label=label)


def _unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    return colour[0] / 255, colour[1] / 255, colour[2] / 255


def _png(figure: Figure, keep: Sequence[tuple[int, int, int]]) -> bytes:
    """Render, and reduce to 256 colours, a third of the bytes; those of `keep` stay as they are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types this class only in part
    size = canvas.get_width_height()
    picture = Image.frombuffer("RGBA", size, canvas.buffer_rgba()).convert("RGB")  # type: ignore[no-untyped-call]
    free = max(256 - len(keep), 64)
    found = (picture.quantize(free).getpalette() or [])[: 3 * free]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found, *(channel for colour in keep[: 256 - free] for channel in colour)])
    buffer = io.BytesIO()
    reduced = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
