"""The entry point of a pretraining job: `ray job submit -- python -m services.training ...`."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import ray
import typer
from pydantic import ValidationError

from icss_core.errors import IcssError
from icss_core.training import Optimisation
from services.settings import load_settings
from services.training.config import PretrainingConfig
from services.training.job import pretrain

_DEFAULT = PretrainingConfig(dataset="s3://bucket/dataset.yaml", model="model")
_FIT = _DEFAULT.optimisation


def main(
    dataset: Annotated[str, typer.Option(help="s3:// address of a dataset.yaml")],
    model: Annotated[str, typer.Option("--model", "--name", help="name to register the network under")],
    classes: Annotated[str, typer.Option(help="classes to learn, by commas; the rest is background")] = "",
    decoder: Annotated[
        str, typer.Option(help="architecture of segmentation-models-pytorch")
    ] = _DEFAULT.decoder,
    encoder: Annotated[str, typer.Option(help="encoder of segmentation-models-pytorch")] = _DEFAULT.encoder,
    encoder_weights: Annotated[
        str | None, typer.Option(help="pretrained encoder weights, as 'imagenet'; downloaded")
    ] = None,
    crop: Annotated[int, typer.Option(help="side of the crops, in pixels")] = _DEFAULT.crop,
    batch: Annotated[int, typer.Option(help="crops in an iteration, on each worker")] = _DEFAULT.batch,
    iterations: Annotated[int, typer.Option(help="optimiser steps")] = _FIT.iterations,
    lr: Annotated[float, typer.Option(help="learning rate at the start")] = _FIT.lr,
    schedule: Annotated[str, typer.Option(help="constant, poly, multistep or cosine")] = _FIT.schedule,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = _FIT.precision,
    workers: Annotated[int, typer.Option(help="data-parallel workers")] = _DEFAULT.workers,
    cpus_per_worker: Annotated[int, typer.Option(help="CPUs of each worker")] = _DEFAULT.cpus_per_worker,
    gpu: Annotated[bool | None, typer.Option(help="one GPU a worker; default: if there are enough")] = None,
    seed: Annotated[int, typer.Option(help="of weights and crops")] = _DEFAULT.seed,
    validate_every: Annotated[int, typer.Option(help="iterations")] = _DEFAULT.validate_every,
    checkpoint_every: Annotated[int, typer.Option(help="iterations")] = _DEFAULT.checkpoint_every,
    minutes: Annotated[float | None, typer.Option(help="stop after this time at the latest")] = None,
    max_failures: Annotated[int, typer.Option(help="restarts after a worker died")] = _DEFAULT.max_failures,
    job: Annotated[str | None, typer.Option(help="name of the job; resubmitting it resumes it")] = None,
) -> None:
    """Train a memory network on the scenes of a data set, register it, and make it the model's memory."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    given: dict[str, Any] = {
        "iterations": iterations,
        "lr": lr,
        "schedule": schedule,
        "precision": precision,
        "warmup": min(_FIT.warmup, iterations // 10),
    }
    try:
        config = PretrainingConfig.model_validate(
            {
                "dataset": dataset,
                "model": model,
                "classes": tuple(name.strip() for name in classes.split(",") if name.strip()),
                "decoder": decoder,
                "encoder": encoder,
                "encoder_weights": encoder_weights,
                "crop": crop,
                "batch": batch,
                "optimisation": Optimisation.model_validate(given),
                "workers": workers,
                "cpus_per_worker": cpus_per_worker,
                "gpu": gpu,
                "seed": seed,
                "validate_every": validate_every,
                "checkpoint_every": checkpoint_every,
                "minutes": minutes,
                "max_failures": max_failures,
                "job": job,
            }
        )
    except ValidationError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        settings = load_settings()
        ray.init()
        version = pretrain(config, settings)
    except IcssError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"registered {config.model} version {version}; it is the memory now")


if __name__ == "__main__":
    typer.run(main)
