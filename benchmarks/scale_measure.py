"""What the scale model is checked by: one and two workers of Ray here, and what it predicts of them.

The workers measure the costs themselves, in turns with what is to be predicted, so that whatever else runs
on the machine slows both alike. In a training: iterations without data parallelism, by all workers at once,
and an all-reduce of as many bytes as the network has gradients; predicted are iterations with it. In a map:
each scene, by the worker that maps it; predicted is how many all of them map.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import scale_workload
from scale_simulations import MapCosts, TrainingCosts, map_scenes, train

ROUNDS = 16
ITERATIONS = 3
"""Of each kind in a round, the first of which does not count: its batch was not made ahead."""
SCENES = 24
WORKERS = (1, 2)


@dataclass(frozen=True)
class Point:
    """Something predicted, and measured."""

    what: str
    unit: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Of the prediction, as a part of what was measured."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class TrainingMeasured:
    """Of one worker; times in seconds, in the order of the iterations."""

    alone: list[tuple[float, float]]
    """Iterations without data parallelism, and of each the waiting for its batch."""
    together: list[float]
    """Iterations with it."""
    all_reduce: list[float]
    message: list[float]
    """An all-reduce of one number."""


def ray_loop(config: dict[str, float]) -> tuple[float, list[TrainingMeasured]]:
    """What a worker of Ray Train does; the time of its begin, and what all of them measured."""
    import torch
    from ray.train.torch import prepare_model
    from torch import distributed

    begun = time.time() - config["submitted"]
    world = distributed.get_world_size()
    alone, together = scale_workload.Training(), scale_workload.Training(prepare_model)
    gradients, number = torch.zeros(scale_workload.gradient_bytes() // 4), torch.zeros(1)
    measured = TrainingMeasured([], [], [], [])
    alone.run(3)  # the first iterations choose kernels
    together.run(3)
    for _ in range(ROUNDS):
        distributed.barrier()
        measured.alone.extend(alone.run(ITERATIONS)[1:])
        if world > 1:
            measured.all_reduce.append(_all_reduce(gradients))
            measured.message.append(_all_reduce(number))
        distributed.barrier()
        measured.together.extend(seconds for seconds, _ in together.run(ITERATIONS)[1:])
    found: list[TrainingMeasured] = [measured] * world
    distributed.all_gather_object(found, measured)
    return begun, found


def _all_reduce(tensor) -> float:
    from torch import distributed

    distributed.barrier()
    started = time.perf_counter()
    distributed.all_reduce(tensor)
    return time.perf_counter() - started


def train_with_ray(workers: int, folder: Path) -> tuple[float, list[TrainingMeasured]]:
    """Seconds until the first worker began, and what all of them measured."""
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        ray_loop,
        train_loop_config={"submitted": time.time()},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(name=f"scale-{workers}", storage_path=str(folder / "ray-train")),
    )
    return trainer.fit().return_value


def costs_of(found: list[TrainingMeasured]) -> TrainingCosts:
    """The costs of a training in the model's words."""
    computed = [seconds - waited for one in found for seconds, waited in one.alone]
    mean = statistics.fmean(computed)
    size = scale_workload.gradient_bytes()
    message = statistics.median(found[0].message or [0.0])
    moving = statistics.median(found[0].all_reduce or [1.0]) - message
    return TrainingCosts(
        start=0,
        start_each=0,
        compute=mean,
        compute_variation=statistics.stdev(computed) / mean,
        batch=scale_workload.BATCH,
        read=statistics.fmean(waited for one in found for _, waited in one.alone),
        read_variation=0,
        batch_bytes=0,
        store_bandwidth=1,
        gradient_bytes=size,
        workers_per_node=len(found),
        node_bandwidth=size / max(moving, 1e-6),
        network_bandwidth=1,
        latency=message / 2,
        overlap=0,  # the processor that computes gradients is the one that sends them
        checkpoint=0,
        checkpoint_every=10**9,
    )


@dataclass(frozen=True)
class MapMeasured:
    """Of a map by so many workers, in seconds."""

    ready: float
    """Until all workers had their networks."""
    scenes: list[float]
    """Each, by the worker that mapped it."""
    whole: float
    """From the first scene to the end of the last."""


def map_with_ray(workers: int, paths: list[Path]) -> MapMeasured:
    """Map scenes by actors that take one after another."""
    import ray
    from ray.util import ActorPool

    submitted = time.perf_counter()
    kind = ray.remote(num_cpus=1)(scale_workload.Mapper)
    actors = [kind.remote() for _ in range(workers)]
    ray.get([actor.map.remote(paths[0]) for actor in actors])
    ready = time.perf_counter()
    scenes = list(ActorPool(actors).map_unordered(lambda actor, path: actor.map.remote(path), paths))
    ended = time.perf_counter()
    for actor in actors:
        ray.kill(actor)
    return MapMeasured(ready - submitted, scenes, ended - ready)


def predicted_scenes(measured: MapMeasured, workers: int) -> float:
    """Scenes a second."""
    mean = statistics.fmean(measured.scenes)
    costs = MapCosts(
        start=0,
        start_each=0,
        scene=0,
        pixels_per_second=scale_workload.SIDE**2 / mean,
        variation=statistics.stdev(measured.scenes) / mean,
        bytes_per_pixel=0,
        connection_bandwidth=1,
        store_bandwidth=1,
    )
    pixels = [float(scale_workload.SIDE**2)] * SCENES
    return SCENES / statistics.fmean(map_scenes(costs, workers, pixels, seed=seed) for seed in range(20))


def measure(starts: dict[str, float]) -> tuple[list[Point], dict[str, float]]:
    """All points, and costs that were measured on the way.

    Args:
        starts: seconds that the model takes for a start, by "training" or "map" and the number of workers.
    """
    # Ray reads these when it is imported
    os.environ |= {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "OMP_NUM_THREADS": "1",
    }
    import ray

    points, costs = [], {}
    with tempfile.TemporaryDirectory(prefix="icss-scale-") as name:
        folder = Path(name)
        paths = scale_workload.write_scenes(folder, SCENES)
        search = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        ray.init(
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=100_000_000,
            runtime_env={"env_vars": {"PYTHONPATH": search}},
        )
        try:
            for workers in WORKERS:
                begun, found = train_with_ray(workers, folder)
                known = costs_of(found)
                iteration = statistics.fmean(seconds for one in found for seconds in one.together)
                predicted = train(known, workers, 1000).samples_per_second
                label = f"{workers} worker{'s' if workers > 1 else ''}"
                points += [
                    Point(f"training, {label}", "crops/s", predicted, workers * known.batch / iteration),
                    Point(f"start of a training, {label}", "s", starts[f"training {workers}"], begun),
                ]
                costs[f"seconds of an iteration alone, {label}"] = known.compute
                costs[f"variation of it, {label}"] = known.compute_variation
                costs[f"all-reduce of the gradients, seconds, {label}"] = known.all_reduce(workers)
            for workers in WORKERS:
                mapped = map_with_ray(workers, paths)
                label = f"{workers} worker{'s' if workers > 1 else ''}"
                rate = SCENES / mapped.whole
                points += [
                    Point(f"maps, {label}", "scenes/s", predicted_scenes(mapped, workers), rate),
                    Point(f"start of a map, {label}", "s", starts[f"map {workers}"], mapped.ready),
                ]
                costs[f"seconds of a scene of {scale_workload.SIDE} pixels, {label}"] = statistics.fmean(
                    mapped.scenes
                )
        finally:
            ray.shutdown()
    return points, costs
