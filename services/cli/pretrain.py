"""`icss pretrain`: a memory network from a data set, as a job on the Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer


def pretrain(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="s3:// address of a dataset.yaml")],
    model: Annotated[str, typer.Option("--name", help="name to register the network under")],
    classes: Annotated[str, typer.Option(help="classes to learn, by commas; default: all")] = "",
    address: Annotated[
        str | None, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="dashboard of the Ray cluster")
    ] = None,
) -> None:
    """Train a memory network: `ray job submit -- python -m services.training`, followed to its end.

    Further options go to the job as they are, such as --minutes 10 or --encoder resnet18; see
    `python -m services.training --help`.
    """
    from services.submission import submit_pretraining

    arguments = ["--dataset", dataset, "--model", model]
    if classes:
        arguments += ["--classes", classes]
    version = submit_pretraining(
        [*arguments, *context.args],
        address=address,
        on_line=lambda line: typer.echo(line) if line.startswith(("pretraining:", "registered")) else None,
    )
    typer.echo(f"{model} version {version} is the memory network now")
