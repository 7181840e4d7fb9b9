"""The entry point of a protocol: `ray job submit -- python -m services.continual ...`."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import ray
import typer
from pydantic import ValidationError

from icss_core.continual import protocol_names, read_protocol
from icss_core.errors import IcssError, faults_of
from icss_core.methods import dense_preset_names, get_dense_preset
from icss_core.networks.packaged_weights import ENCODER, PACKAGE
from icss_core.seed import MAX_SEED
from services.command_options import json_object
from services.continual.config import ProtocolRun
from services.continual.run import run_protocol
from services.settings import load_settings


def main(
    dataset: Annotated[str, typer.Option(help="s3:// address of a dataset.yaml")],
    model: Annotated[str, typer.Option(help="name to register the tasks' networks under")],
    protocol: Annotated[str, typer.Option(help=f"a YAML file, or one of {', '.join(protocol_names())}")],
    preset: Annotated[str, typer.Option(help=f"one of {', '.join(dense_preset_names())}")] = "mib-paper/mib",
    setting: Annotated[str | None, typer.Option(help="disjoint, overlapped or partitioned")] = None,
    overrides: Annotated[str, typer.Option(help="changes to the preset, JSON by dotted path")] = "{}",
    decoder: Annotated[str | None, typer.Option(help="deeplabv3")] = None,
    encoder: Annotated[str | None, typer.Option(help="resnet101")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help=f"'imagenet', downloaded, or '{PACKAGE}' for '{ENCODER}'")
    ] = None,
    encoder_output_stride: Annotated[int | None, typer.Option(help="8 or 16, of dilated encoders")] = None,
    workers: Annotated[int | None, typer.Option(help="data-parallel workers; 1")] = None,
    cpus_per_worker: Annotated[int | None, typer.Option(help="1")] = None,
    gpu: Annotated[bool | None, typer.Option(help="one GPU a worker; default: if there are enough")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights and crops; 0", min=0, max=MAX_SEED)] = None,
) -> None:
    """Run a protocol, or what is left of it; the matrix of task by class is printed and kept in MLflow."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    given: dict[str, Any] = {
        "decoder": decoder,
        "encoder": encoder,
        "encoder_weights": encoder_weights,
        "encoder_output_stride": encoder_output_stride,
        "workers": workers,
        "cpus_per_worker": cpus_per_worker,
        "gpu": gpu,
        "seed": seed,
    }
    try:
        asked = ProtocolRun.model_validate(
            {
                "dataset": dataset,
                "model": model,
                "protocol": read_protocol(protocol, setting),  # type: ignore[arg-type]  # checked there
                "preset": get_dense_preset(preset, json_object(overrides, option="--overrides")),
                **{key: value for key, value in given.items() if value is not None},
            }
        )
    except ValidationError as error:
        raise typer.BadParameter(faults_of(error)) from error
    except IcssError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        ray.init()
        result = run_protocol(asked, load_settings())
    except IcssError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(result.history.to_markdown())
    typer.echo(f"versions {list(result.versions)} of {asked.model}; MLflow run {result.run_id}")


if __name__ == "__main__":
    typer.run(main)
