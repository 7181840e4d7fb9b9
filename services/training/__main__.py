"""The entry point of a pretraining job: `ray job submit -- python -m services.training ...`."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import ray
import typer

from icss_core.errors import IcssError
from icss_core.learners import LEARNERS
from icss_core.networks.packaged_weights import ENCODER, PACKAGE
from icss_core.seed import MAX_SEED
from services.command_options import json_object
from services.settings import load_settings
from services.training.job import pretrain
from services.training.presets import DEFAULT_PRETRAINING, PRETRAINING_PRESETS, pretraining_config
from services.training_progress import RegisteredLine


def main(
    dataset: Annotated[str, typer.Option(help="s3:// address of a dataset.yaml")],
    model: Annotated[str, typer.Option("--model", "--name", help="name to register the network under")],
    classes: Annotated[str, typer.Option(help="classes to learn, by commas; the rest is background")] = "",
    preset: Annotated[
        str, typer.Option(help=f"numbers that are not given: {', '.join(PRETRAINING_PRESETS)}")
    ] = DEFAULT_PRETRAINING,
    decoder: Annotated[
        str | None, typer.Option(help="architecture of segmentation-models-pytorch; linknet")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="encoder of that library; resnet34")] = None,
    encoder_weights: Annotated[
        str | None,
        typer.Option(
            help=f"pretrained encoder weights: 'imagenet', downloaded, or '{PACKAGE}' for '{ENCODER}'"
        ),
    ] = None,
    crop: Annotated[int | None, typer.Option(help="side of the crops, in pixels; 256")] = None,
    batch: Annotated[int | None, typer.Option(help="crops in an iteration, on each worker")] = None,
    iterations: Annotated[int | None, typer.Option(help="optimiser iterations")] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate at the start")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, poly, multistep or cosine")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16")] = None,
    workers: Annotated[int | None, typer.Option(help="data-parallel workers")] = None,
    cpus_per_worker: Annotated[int | None, typer.Option(help="CPUs of each worker; 1")] = None,
    gpu: Annotated[bool | None, typer.Option(help="one GPU a worker; default: if there are enough")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights and crops; 0", min=0, max=MAX_SEED)] = None,
    validate_every: Annotated[int | None, typer.Option(help="iterations; 200")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="iterations; 100")] = None,
    minutes: Annotated[float | None, typer.Option(help="stop after this time at the latest")] = None,
    max_failures: Annotated[int | None, typer.Option(help="restarts after a worker died; 3")] = None,
    job: Annotated[str | None, typer.Option(help="name of the job; resubmitting it resumes it")] = None,
    learner: Annotated[
        str | None, typer.Option(help=f"kind of training: {', '.join(LEARNERS)}; supervised")
    ] = None,
    learner_parameters: Annotated[str, typer.Option(help="its numbers, JSON")] = "{}",
) -> None:
    """Train a memory network on the scenes of a data set, register it, and make it the model's memory."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    parameters = json_object(learner_parameters, option="--learner-parameters")
    given: dict[str, Any] = {
        "preset": preset,
        "decoder": decoder,
        "encoder": encoder,
        "encoder_weights": encoder_weights,
        "crop": crop,
        "batch": batch,
        "optimisation.iterations": iterations,
        "optimisation.lr": lr,
        "optimisation.schedule": schedule,
        "optimisation.precision": precision,
        "workers": workers,
        "cpus_per_worker": cpus_per_worker,
        "gpu": gpu,
        "seed": seed,
        "validate_every": validate_every,
        "checkpoint_every": checkpoint_every,
        "minutes": minutes,
        "max_failures": max_failures,
        "job": job,
        "learner": None if learner is None else {"kind": learner, "parameters": parameters},
    }
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    numbers = {key: value for key, value in given.items() if value is not None}
    try:
        config = pretraining_config(model, names, dataset, numbers)
    except IcssError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        settings = load_settings()
        ray.init()
        version = pretrain(config, settings)
    except IcssError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(RegisteredLine(model=config.model, version=version).line())


if __name__ == "__main__":
    typer.run(main)
