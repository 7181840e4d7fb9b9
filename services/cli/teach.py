"""`icss teach`: a class from clicks on several local images, without any service."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from icss_core.errors import InvalidParameterError
from icss_core.seed import MAX_SEED
from services.cli.connection import Bands, band_numbers
from services.cli.forgetting_table import elsewhere_table, forgetting_table
from services.cli.update_inputs import override_of, read_clicks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from icss_core.labels import ClassInfo, LabelSpace
    from icss_core.updating import ClickedImage, UpdateProgress, UpdateResult

_IMAGES = frozenset({".tif", ".tiff", ".jpg", ".jpeg", ".png", ".vrt", ".jp2"})


def teach(
    model: Annotated[Path, typer.Argument(help="folder of the version to add to", file_okay=False)],
    class_name: Annotated[str, typer.Argument(help="name of the new class")],
    clicks: Annotated[
        list[str],
        typer.Option(
            help="IMAGE=POINTS.geojson, once for each clicked image; points have a property 'class'"
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder for the new version, its report and maps")],
    context: Annotated[
        list[Path] | None,
        typer.Option(help="images, or folders of them, that nobody clicked: the report looks at them too"),
    ] = None,
    crs: Annotated[
        str | None, typer.Option(help="of the clicks: EPSG:..., or pixel for (column, row); default: lon/lat")
    ] = None,
    bands: Bands = None,
    colour: Annotated[str | None, typer.Option(help="#rrggbb; default: one that stands out")] = None,
    preset: Annotated[str, typer.Option(help="method with its numbers")] = "icss",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="change a number: --set optimisation.iterations=50")
    ] = None,
    seed: Annotated[int, typer.Option(help="same seed and clicks, same network", min=0, max=MAX_SEED)] = 0,
    *,
    maps: Annotated[bool, typer.Option(help="map every image with the new version")] = True,
) -> None:
    """Add a class to a version on this machine, from clicks on any number of images."""
    # torch takes seconds to load: `icss --help` does without
    from icss_core.continual.replay import REPLAY_ARTEFACT, Replay
    from icss_core.methods import get_preset
    from icss_core.networks.model_folder import check_free, load_model, save_model
    from icss_core.updating import Runtime, update_from_images
    from icss_core.updating.updated_card import updated_card

    chosen = get_preset(preset, dict(override_of(change) for change in changes or ()))
    check_free(out / "model")  # before the work, not after it
    network, card = load_model(model)
    new = _new_class(class_name, colour, card.label_space)
    with ExitStack() as closing:
        images = list(
            _opened(clicks, context or (), card.label_space.extend(new), crs, band_numbers(bands), closing)
        )
        result = update_from_images(
            network,
            card.label_space,
            images,
            [new],
            chosen,
            dtype=card.dtype,
            replay=Replay.of_version(model, network),
            seed=seed,
            runtime=Runtime(on_progress=closing.enter_context(_Bar())),
        )
    card = updated_card(
        card, result.network, result.label_space, chosen, parent=None, code_version=package_version("icss")
    )
    kept = {} if result.replay is None else {REPLAY_ARTEFACT: result.replay.to_artefact()}
    save_model(out / "model", result.network, card, artefacts=kept)
    _report(result, out)
    if maps:
        _map(result, images, out / "maps", band_numbers(bands))


def _new_class(name: str, colour: str | None, label_space: LabelSpace) -> ClassInfo:
    from icss_core.labels import ClassInfo
    from services.distinct_colour import distinct_colour

    if colour is None:
        return ClassInfo(name=name, colour=distinct_colour(info.colour for info in label_space.classes))
    digits = colour.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError as error:
        raise InvalidParameterError(f"a colour is #rrggbb, not {colour!r}") from error
    return ClassInfo(name=name, colour=(red, green, blue))


def _opened(
    clicks: Sequence[str],
    context: Sequence[Path],
    label_space: LabelSpace,
    crs: str | None,
    bands: list[int] | None,
    closing: ExitStack,
) -> Iterator[ClickedImage]:
    """The clicked images, then the context images that are none of these."""
    from icss_core.clicks.geojson import clicks_from_geojson
    from icss_core.raster.reader import open_raster
    from icss_core.updating import ClickedImage

    seen = set()
    for pair in clicks:
        image, separator, points = pair.rpartition("=")
        if not separator or not image:
            raise InvalidParameterError(f"--clicks takes IMAGE=POINTS.geojson, not {pair!r}")
        raster = closing.enter_context(open_raster(image, bands=bands))
        placed = clicks_from_geojson(read_clicks(Path(points)), raster, label_space, crs=crs)
        seen.add(Path(image).resolve())
        yield ClickedImage(raster, placed, name=image)
    for path in _context_files(context):
        if path.resolve() not in seen:
            yield ClickedImage(closing.enter_context(open_raster(path, bands=bands)), name=str(path))


def _context_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.suffix.lower() in _IMAGES)
        else:
            yield path


class _Bar:
    """Shows where an update stands."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task("reading", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, progress: UpdateProgress) -> None:
        self._progress.update(
            self._task, description=progress.stage, completed=progress.step, total=progress.steps
        )


def _report(result: UpdateResult, out: Path) -> None:
    console = Console(highlight=False)
    console.print(forgetting_table(result.forgetting))
    (out / "forgetting.json").write_text(result.forgetting.model_dump_json(indent=1), encoding="utf-8")
    if result.elsewhere is not None:
        console.print(elsewhere_table(result.elsewhere))
        (out / "elsewhere.json").write_text(result.elsewhere.model_dump_json(indent=1), encoding="utf-8")
    for warning in result.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"{out / 'model'}: made in {result.seconds:.1f} s", markup=False, soft_wrap=True)


def _map(result: UpdateResult, images: Sequence[ClickedImage], folder: Path, bands: list[int] | None) -> None:
    from icss_core.inference.predict_raster import predict_raster
    from icss_core.inference.prepare import prepare_for_inference

    folder.mkdir(parents=True, exist_ok=True)
    network = prepare_for_inference(result.network)
    for number, image in enumerate(images, start=1):
        path = folder / f"{number:03d}-{Path(image.name).stem}.tif"
        predict_raster(network, image.name, path, label_space=result.label_space, bands=bands)
        typer.echo(str(path))
