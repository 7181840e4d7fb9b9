"""The main job: from empty folders to a class added by clicks and a georeferenced map made with it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final, Self

from services.client import IcssClient
from services.demo.report import DemoReport, scores_of, summary_of
from services.demo.scenes import bring_scenes, true_scenes
from services.demo.session import Session, write_pictures
from services.errors import StackError
from services.revision import code_revision
from services.storage import Storage
from services.submission import submit_pretraining

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icss_core.dataset import Dataset
    from services.demo.options import DemoOptions
    from services.demo.progress import Stages
    from services.demo.scenes import TrueScene
    from services.demo.session import SessionResult
    from services.local.stack import LocalStack
    from services.training_progress import TrainingLine

_SERVE_SECONDS: Final = 180


class MainJob:
    """The stages of the main job on a running stack; `run` does all of them. A context manager.

    Args:
        options: What to do.
        stack: The running services.
        stages: Where progress is shown.
    """

    def __init__(self, options: DemoOptions, stack: LocalStack, stages: Stages) -> None:
        self.options = options
        self.stack = stack
        self.stages = stages
        self.storage = Storage(stack.settings)
        self.client = IcssClient(
            f"http://{stack.settings.api_host}:{stack.settings.api_port}", stack.settings.require_api_token()
        )
        self.model = options.name
        self.names = (*options.old, options.new)
        self.out = options.out
        self._logs = stack.logs
        self._environment = stack.environment()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def run(self) -> DemoReport:
        """Everything, in order; the results lie in the folder `out` afterwards.

        Raises:
            IcssError: a stage failed; the message says which and why.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        dataset, scenes = self.prepare()
        networks = {"memory": (self.model, self.pretrain(dataset, self.model, self.options.old))}
        if self.options.control:
            control = f"{self.model}-control"
            networks["control"] = (control, self.pretrain(dataset, control, self.names))
        self.serve()
        results = [self.session(dataset, scene, networks) for scene in scenes]
        return self.conclude(dataset, results, {name: version for name, (_, version) in networks.items()})

    def prepare(self) -> tuple[Dataset, list[TrueScene]]:
        """Bring the scenes, and pick those that get the new class."""
        dataset = self.bring()
        dataset.select(self.names)  # an unknown class is an error now, not after the training
        scenes = true_scenes(
            self.storage, dataset, self.names, new=self.options.new, count=self.options.sessions
        )
        return dataset, scenes

    def session(
        self, dataset: Dataset, scene: TrueScene, networks: Mapping[str, tuple[str, int]]
    ) -> SessionResult:
        """Add the class on one scene, and map it with every network."""
        session = Session(self.client, self.storage, dataset.select(self.names), self.options, self.stages)
        return session.run(scene, networks)

    def conclude(
        self, dataset: Dataset, results: Sequence[SessionResult], versions: Mapping[str, int]
    ) -> DemoReport:
        """Scores, pictures and files of all sessions."""
        with self.stages.stage("report", f"pictures and report in {self.out}/") as stage:
            for number, result in enumerate(results, start=1):
                stage.at(number, len(results), result.scene.name)
                write_pictures(result, dataset.select(self.names), self.out)
            report = DemoReport(
                dataset=dataset.name,
                manifest_hash=dataset.manifest_hash,
                classes=["background", *self.names],
                old_classes=list(self.options.old),
                new_class=self.options.new,
                preset=self.options.preset,
                overrides=dict(self.options.overrides),
                model=self.model,
                versions=dict(versions),
                sessions={result.scene.name: summary_of(result) for result in results},
                scores=scores_of(results, ["background", *self.names], new=self.options.new),
                seconds=self.stages.seconds,
                seed=self.options.seed,
                code_version=code_revision(self.stack.settings),
            )
        (self.out / "report.json").write_text(report.model_dump_json(indent=1), encoding="utf-8")
        return report

    def bring(self) -> Dataset:
        """Scenes into the object store, as GeoTIFFs with a dataset.yaml."""
        prefix = f"{self.stack.settings.data_prefix}/scenes/{self.model}"
        with self.stages.stage("scenes", f"scenes to {prefix}") as stage:
            return bring_scenes(
                self.storage,
                self.options,
                prefix,
                lambda done, total, name: stage.at(done, total, f"{name}, {done} of {total}"),
            )

    def pretrain(self, dataset: Dataset, model: str, classes: tuple[str, ...]) -> int:
        """Train a network with full masks by `ray job submit`, and return its version in the registry."""
        options = self.options
        minutes = options.pretraining_minutes
        arguments = ["--dataset", f"{dataset.base}/dataset.yaml", "--model", model]
        arguments += ["--classes", ",".join(classes), "--decoder", options.decoder]
        arguments += [
            "--encoder",
            options.encoder,
            "--batch",
            str(options.batch),
            "--crop",
            str(options.crop),
        ]
        arguments += ["--workers", str(options.workers), "--seed", str(options.seed)]
        arguments += ["--minutes", str(minutes)]
        if options.iterations is not None:
            arguments += ["--iterations", str(options.iterations)]
        with self.stages.stage(
            f"pretraining {model}", f"network {model!r} for {', '.join(classes)}: ray job submit, Ray Train"
        ) as stage:
            stage.at(0, None, "the job starts")

            scores = ""

            def show(progress: TrainingLine) -> None:
                nonlocal scores  # of the last validation; they stay in view until the next one
                done = max(progress.iteration / progress.iterations, progress.seconds / (60 * minutes))
                loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
                scores = scores_shown(progress.scores) or scores
                stage.at(min(done, 1.0), 1.0, f"iteration {progress.iteration}{loss}{scores}")

            return submit_pretraining(
                arguments,
                address=self.stack.ray.dashboard,
                token=self.stack.ray.token,
                log=self._logs / f"pretraining-{model}.log",
                on_progress=show,
            )

    def serve(self) -> None:
        """Start the HTTP service on the cluster and wait until it is ready.

        Raises:
            StackError: it did not start; the message has the end of its log.
        """
        log = self._logs / "serve.log"
        with self.stages.stage("serve", "Ray Serve: the HTTP service") as stage, log.open("w") as output:
            stage.at(0, None, "starting")
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "services.serving"],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_SERVE_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise StackError(f"Ray Serve did not start within {_SERVE_SECONDS} s, see {log}") from error
        if done.returncode != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise StackError(f"Ray Serve did not start; the end of {log}:\n{tail}")
        health = self.client.ready()
        if health.status != "ok":
            raise StackError(f"the service runs, but not all of its parts answer: {health.parts}")


def scores_shown(scores: Mapping[str, float]) -> str:
    """IoU by class of a validation, as the line of a stage shows it."""
    prefix = "val_iou/"
    classes = {name.removeprefix(prefix): value for name, value in scores.items() if name.startswith(prefix)}
    return "".join(f", IoU {name} {100 * value:.0f} %" for name, value in classes.items())
