"""`icss ingest`: data sets into the object store."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from icss_core.seed import MAX_SEED
from services.cli.check_table import print_check
from services.ingest.check import PICTURE_FILE, TABLE_FILE, CheckTable
from services.settings import load_settings
from services.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icss_core.dataset import Dataset
    from services.ingest.writer import Progress as OnScene

ingest_app = typer.Typer(
    help="Write a data set to the object store: GeoTIFFs, masks, dataset.yaml. Needs the ICSS_S3_* settings.",
    no_args_is_help=True,
)

Source = Annotated[Path, typer.Argument(help="folder of the data set", exists=True, file_okay=False)]
Prefix = Annotated[str, typer.Argument(help="where to: s3://bucket/prefix")]
NoBoundary = Annotated[
    bool, typer.Option("--no-boundary", help="eroded masks: borders of objects are ignored")
]
Partial = Annotated[bool, typer.Option("--partial", help="leave out tiles that the folder lacks")]
AlphaIsData = Annotated[
    bool,
    typer.Option(
        "--alpha-is-data", help="a band marked as alpha is one like the others, such as near infrared"
    ),
]
IsprsSplit = Annotated[
    Literal["paper", "isprs"], typer.Option(help="the ICSS paper's, or the contest's train and test")
]


@ingest_app.command("dubai")
def dubai(source: Source, prefix: Prefix) -> None:
    """The Dubai set: satellite RGB with land, building, road, vegetation and water; not georeferenced."""
    from services.ingest import ingest_dubai

    _ingest(lambda storage, on_scene: ingest_dubai(storage, source, prefix, on_scene=on_scene))


@ingest_app.command("potsdam")
def potsdam(
    source: Source,
    prefix: Prefix,
    bands: Annotated[Literal["rgb", "irrg", "rgbir"], typer.Option(help="which of the images")] = "rgb",
    split: IsprsSplit = "paper",
    no_boundary: NoBoundary = False,
    partial: Partial = False,
) -> None:
    """ISPRS Potsdam: aerial images of 5 cm with six classes, as downloaded."""
    from services.ingest import ingest_potsdam

    _ingest(
        lambda storage, on_scene: ingest_potsdam(
            storage,
            source,
            prefix,
            bands=bands,
            split=split,
            no_boundary=no_boundary,
            partial=partial,
            on_scene=on_scene,
        )
    )


@ingest_app.command("vaihingen")
def vaihingen(
    source: Source,
    prefix: Prefix,
    split: IsprsSplit = "paper",
    no_boundary: NoBoundary = False,
    partial: Partial = False,
) -> None:
    """ISPRS Vaihingen: aerial images of 9 cm in infrared, red and green with six classes, as downloaded."""
    from services.ingest import ingest_vaihingen

    _ingest(
        lambda storage, on_scene: ingest_vaihingen(
            storage,
            source,
            prefix,
            split=split,
            no_boundary=no_boundary,
            partial=partial,
            on_scene=on_scene,
        )
    )


@ingest_app.command("toulouse")
def toulouse(
    source: Source,
    prefix: Prefix,
    bands: Annotated[
        Literal["multispectral", "rgb", "nirrg"], typer.Option(help="which of the images")
    ] = "multispectral",
    split: Annotated[
        Literal["paper", "semcity"], typer.Option(help="the ICSS paper's, or that of the set's own users")
    ] = "paper",
    partial: Partial = False,
) -> None:
    """SemCity Toulouse: satellite images of 0.5 m in eight bands with eight classes, as downloaded."""
    from services.ingest import ingest_toulouse

    _ingest(
        lambda storage, on_scene: ingest_toulouse(
            storage, source, prefix, bands=bands, split=split, partial=partial, on_scene=on_scene
        )
    )


@ingest_app.command("voc")
def voc(
    source: Source,
    prefix: Prefix,
    augmented: Annotated[bool, typer.Option(help="train on SegmentationClassAug's images, if there")] = True,
    supervision: Annotated[
        Literal["masks", "points", "scribbles"], typer.Option(help="what training images are labelled with")
    ] = "masks",
    annotations: Annotated[
        Path | None, typer.Option(help="file of points, or folder of scribbles", exists=True)
    ] = None,
) -> None:
    """Pascal VOC 2012: natural images with 20 classes; masks, points or scribbles."""
    from services.ingest import ingest_voc

    _ingest(
        lambda storage, on_scene: ingest_voc(
            storage,
            source,
            prefix,
            augmented=augmented,
            supervision=supervision,
            annotations=annotations,
            on_scene=on_scene,
        )
    )


@ingest_app.command("ade20k")
def ade20k(
    source: Source,
    prefix: Prefix,
    ignore_other: Annotated[
        bool, typer.Option("--ignore-other", help="value 0 is ignored in training too, as in the challenge")
    ] = False,
) -> None:
    """ADE20K's scene parsing challenge: 150 classes of things and stuff, as downloaded."""
    from services.ingest import ingest_ade20k

    _ingest(
        lambda storage, on_scene: ingest_ade20k(
            storage, source, prefix, ignore_other=ignore_other, on_scene=on_scene
        )
    )


@ingest_app.command("cityscapes")
def cityscapes(source: Source, prefix: Prefix) -> None:
    """Cityscapes: street scenes with 19 classes, from leftImg8bit/ and gtFine/."""
    from services.ingest import ingest_cityscapes

    _ingest(lambda storage, on_scene: ingest_cityscapes(storage, source, prefix, on_scene=on_scene))


@ingest_app.command("openearthmap")
def openearthmap(
    source: Source,
    prefix: Prefix,
    phase: Annotated[
        Literal["val", "test"],
        typer.Option(help="which novel classes and query images; those of test have no public labels"),
    ] = "val",
) -> None:
    """OpenEarthMap's few-shot challenge: 7 base classes, and 4 novel ones with 5 images each."""
    from services.ingest import ingest_openearthmap

    _ingest(
        lambda storage, on_scene: ingest_openearthmap(storage, source, prefix, phase=phase, on_scene=on_scene)
    )


@ingest_app.command("folder")
def folder(
    source: Source,
    prefix: Prefix,
    name: Annotated[str | None, typer.Option(help="of the data set")] = None,
    alpha_is_data: AlphaIsData = False,
) -> None:
    """Your own images/, with masks/ (or GeoJSON scribbles), objectness/ and classes.yaml if there are any."""
    from services.ingest import ingest_folder

    _ingest(
        lambda storage, on_scene: ingest_folder(
            storage, source, prefix, name=name, alpha_is_data=alpha_is_data, on_scene=on_scene
        )
    )


@ingest_app.command("check")
def check(
    source: Source,
    picture: Annotated[
        Path, typer.Option(help="where the picture of three scenes with their masks goes", dir_okay=False)
    ] = Path("ingest-check.png"),
    alpha_is_data: AlphaIsData = False,
) -> None:
    """What `folder` would make of a folder: a table and a picture to look at. Stores nothing."""
    from services.ingest import ingest_folder
    from services.ingest.dry_run import PREFIX, DryRun

    dry_run = DryRun()
    with _progress() as on_scene:
        dataset = ingest_folder(dry_run, source, PREFIX, alpha_is_data=alpha_is_data, on_scene=on_scene)
    print_check(Console(), dry_run.table, dataset.classes)
    if dry_run.picture is not None:
        picture.write_bytes(dry_run.picture)
        typer.echo(f"{picture}: look whether the masks lie on what they name")


@ingest_app.command("derived")
def derived(
    source: Annotated[str, typer.Argument(help="s3:// address of the dataset.yaml to change")],
    prefix: Prefix,
    shrink: Annotated[int, typer.Option(help="old pixels along a side of a new one", min=1)] = 1,
    tile: Annotated[
        int | None, typer.Option(help="side of tiles that training scenes are cut into", min=1)
    ] = None,
    labels: Annotated[
        Literal["masks", "points", "scribbles"],
        typer.Option(help="of training scenes: as they are, or one in each connected piece of a class"),
    ] = "masks",
    background: Annotated[
        bool, typer.Option("--background", help="pieces of the background are labelled too")
    ] = False,
    seed: Annotated[int, typer.Option(help="of the points", min=0, max=MAX_SEED)] = 0,
    validation: Annotated[
        str | None,
        typer.Option(
            help="regular expression: scenes with it in their names are for validation, others for training"
        ),
    ] = None,
    without: Annotated[
        str | None, typer.Option(help="regular expression: scenes with it in their names are left out")
    ] = None,
) -> None:
    """Another data set: coarser, in tiles, split otherwise, or with points or scribbles from its masks."""
    from services.ingest import ingest_derived

    _ingest(
        lambda storage, on_scene: ingest_derived(
            storage,
            source,
            prefix,
            shrink=shrink,
            tile=tile,
            labels=labels,
            background=background,
            seed=seed,
            validation=validation,
            without=without,
            on_scene=on_scene,
        )
    )


@ingest_app.command("town")
def town(
    prefix: Prefix,
    train: Annotated[int, typer.Option(help="scenes to train on", min=0)] = 6,
    val: Annotated[int, typer.Option(help="scenes to validate on", min=0)] = 2,
    size: Annotated[int, typer.Option(help="side of a scene, pixels of 0.3 m", min=64)] = 1024,
    seed: Annotated[int, typer.Option(help="the same seed gives the same scenes", min=0, max=MAX_SEED)] = 0,
) -> None:
    """Made-up towns with perfect masks, georeferenced."""
    from services.ingest import ingest_town

    _ingest(
        lambda storage, on_scene: ingest_town(
            storage, prefix, train=train, val=val, size=size, seed=seed, on_scene=on_scene
        )
    )


def _ingest(convert: Callable[[Storage, OnScene], Dataset]) -> None:
    """Convert a data set into the store of the settings under a progress bar, and print a summary."""
    storage = Storage(load_settings())
    with _progress() as on_scene:
        dataset = convert(storage, on_scene)
    splits = {split: len(dataset.scenes_of(split)) for split in ("train", "val", "test")}
    counts = ", ".join(f"{count} {split}" for split, count in splits.items() if count)
    typer.echo(f"{dataset.base}/dataset.yaml: {len(dataset.scenes)} scenes ({counts})")
    table = CheckTable.model_validate_json(storage.read_bytes(f"{dataset.base}/{TABLE_FILE}"))
    print_check(Console(), table, dataset.classes)
    if table.scenes == table.scenes_without_mask:
        typer.echo(f"no scene has a mask; classes: {', '.join(dataset.classes.names)}")
    else:
        typer.echo(f"{dataset.base}/{PICTURE_FILE}: three scenes with their masks, to look at")
    if dataset.notes:
        typer.echo(dataset.notes)


@contextmanager
def _progress() -> Iterator[OnScene]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("scenes", total=None)

        def on_scene(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name)

        yield on_scene
