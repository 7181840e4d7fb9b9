"""The scale model agrees with queueing theory, and with arithmetic where nothing varies."""

import math
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(FOLDER))  # where Python looks when a script there is started

from events import Barrier, Server, Simulation, Store  # noqa: E402
from scale_costs import COSTS, CostsError, read_costs  # noqa: E402
from scale_simulations import (  # noqa: E402
    MapCosts,
    TrainingCosts,
    annotators,
    annotators_per_service,
    arrivals,
    map_scenes,
    ring_seconds,
    seeded,
    train,
    varied,
)

SERVICE = 1.0


def exponential(mean):
    return lambda rng: rng.expovariate(1 / mean)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_wait_of_random_services_is_that_of_m_m_1(load):
    found = arrivals(40_000, between=exponential(SERVICE / load), service=exponential(SERVICE), seed=1)
    assert found.mean == pytest.approx(load / (1 - load) * SERVICE, rel=0.08)
    assert found.busy == pytest.approx(load, rel=0.03)
    ninety_five = SERVICE / (1 - load) * math.log(load / 0.05)
    assert found.most == pytest.approx(ninety_five, rel=0.1)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_wait_of_equal_services_is_that_of_m_d_1(load):
    found = arrivals(40_000, between=exponential(SERVICE / load), service=lambda _: SERVICE, seed=2)
    assert found.mean == pytest.approx(load / (2 * (1 - load)) * SERVICE, rel=0.08)


def erlang_c(servers, load):
    """Probability of waiting in M/M/c, `load` being that of all servers together."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


def test_wait_of_several_servers_is_that_of_m_m_c():
    found = arrivals(
        40_000, between=exponential(SERVICE / 1.8), service=exponential(SERVICE), servers=3, seed=3
    )
    assert found.mean == pytest.approx(erlang_c(3, 1.8) * SERVICE / (3 - 1.8), rel=0.08)


@pytest.mark.parametrize("number", [1, 5, 20])
def test_people_who_wait_before_they_ask_again_are_the_machine_repair_model(number):
    """M/M/1//N: requests come the slower, the more people wait."""
    think = 10.0
    weights = [
        math.factorial(number) / math.factorial(number - k) * (SERVICE / think) ** k
        for k in range(number + 1)
    ]
    busy = 1 - weights[0] / sum(weights)
    found = annotators(number, think=exponential(think), service=exponential(SERVICE), hours=20, seed=4)
    assert found.busy == pytest.approx(busy, rel=0.03)
    response = number * SERVICE / busy - think
    assert found.mean == pytest.approx(response - SERVICE, rel=0.08, abs=0.02)


def test_annotators_are_added_until_somebody_waits_too_long():
    def waits_of(number):
        return annotators(number, think=exponential(60), service=lambda _: 20.0, hours=8)

    enough = annotators_per_service(30.0, waits_of)
    assert waits_of(enough).most <= 30 < waits_of(enough + 1).most
    assert annotators_per_service(1e9, waits_of, most=8) == 8


def test_a_ring_moves_all_but_one_part_twice():
    assert ring_seconds(1, 1e9, 1e9, 0.1) == 0
    assert ring_seconds(2, 1e9, 1e9, 0.1) == pytest.approx(1.0 + 0.2)
    assert ring_seconds(4, 8e9, 1e9, 0) == pytest.approx(2 * 3 / 4 * 8)
    assert ring_seconds(64, 1e9, 1e9, 0) < 2, "two sizes over the bandwidth, however many there are"


def training(**changes):
    costs = {
        "start": 10, "start_each": 1, "compute": 2, "compute_variation": 0, "batch": 8, "read": 1,
        "read_variation": 0, "batch_bytes": 0, "store_bandwidth": 1, "gradient_bytes": 0,
        "workers_per_node": 8, "node_bandwidth": 1, "network_bandwidth": 1, "latency": 0, "overlap": 0,
        "checkpoint": 0, "checkpoint_every": 10**9,
    }  # fmt: skip
    return TrainingCosts(**(costs | changes))


def test_training_that_nothing_holds_up_takes_its_compute_time():
    result = train(training(), 4, 50)
    assert result.seconds == pytest.approx(10 + 3 + 1 + 50 * 2), "start, the first batch, iterations"
    assert result.samples_per_second == pytest.approx(4 * 8 * 50 / 101)
    assert result.input_wait_share == pytest.approx(1 / 101)
    assert result.idle_share == pytest.approx(1 / 101)


def test_training_waits_for_slow_reading():
    result = train(training(read=3), 2, 100)
    assert result.samples_per_second == pytest.approx(2 * 8 / 3, rel=0.02)
    assert result.input_wait_share == pytest.approx(1 / 3, rel=0.02)


def test_where_reading_varies_the_others_wait_for_the_one_that_waits_for_its_batch():
    alone, many = (train(training(read=4, read_variation=0.3), workers, 300) for workers in (1, 8))
    assert alone.input_wait_share == pytest.approx(alone.idle_share, abs=0.01)
    assert many.idle_share > 0.5
    assert many.input_wait_share < many.idle_share / 2


def test_training_waits_for_a_store_that_all_share():
    costs = training(batch_bytes=10, store_bandwidth=20)
    assert train(costs, 4, 50).samples_per_second == pytest.approx(4 * 8 / 2, rel=0.03)
    assert train(costs, 16, 50).samples_per_second == pytest.approx(16 * 8 / 8, rel=0.03)


def test_gradients_take_the_time_that_does_not_overlap():
    costs = training(gradient_bytes=4, workers_per_node=2, network_bandwidth=0.5, overlap=0.5)
    assert costs.all_reduce(2) == pytest.approx(4 - 1)
    assert costs.all_reduce(4) == pytest.approx(2 * 3 / 4 * 4 / 0.5 - 1)
    assert train(costs, 2, 40).samples_per_second == pytest.approx(2 * 8 / (2 + 3), rel=0.02)


def test_the_slowest_worker_sets_the_pace():
    alone, many = (train(training(compute_variation=0.2), workers, 300) for workers in (1, 16))
    assert alone.samples_per_second == pytest.approx(8 / 2, rel=0.03)
    assert 0.6 < many.samples_per_second / (16 * alone.samples_per_second) < 0.85


def test_checkpoints_hold_everybody_up():
    result = train(training(checkpoint=10, checkpoint_every=5), 2, 50)
    assert result.samples_per_second == pytest.approx(2 * 8 / 4, rel=0.02)


def mapping(**changes):
    costs = {
        "start": 5, "start_each": 0, "scene": 1, "pixels_per_second": 100, "variation": 0,
        "bytes_per_pixel": 3, "connection_bandwidth": 1e9, "store_bandwidth": 1e9,
    }  # fmt: skip
    return MapCosts(**(costs | changes))


def test_scenes_are_spread_over_workers():
    assert map_scenes(mapping(), 1, [400] * 10) == pytest.approx(5 + 10 * 5)
    assert map_scenes(mapping(), 4, [400] * 10) == pytest.approx(5 + 3 * 5), "two workers have a third one"
    assert map_scenes(mapping(), 64, [400] * 10) == pytest.approx(5 + 5)


def test_the_store_is_the_limit_of_many_workers():
    costs = mapping(store_bandwidth=3000)
    assert map_scenes(costs, 10, [400] * 100) == pytest.approx(5 + 10 * (1 + 4))
    assert map_scenes(costs, 50, [400] * 100) == pytest.approx(5 + 2 * (1 + 400 * 3 / 60))


def test_draws_have_their_mean_and_variation():
    rng = seeded(0)
    drawn = [varied(rng, 5, 0.4) for _ in range(20_000)]
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(5, rel=0.02)
    assert math.sqrt(sum((x - mean) ** 2 for x in drawn) / len(drawn)) == pytest.approx(2, rel=0.04)


def test_processes_wait_for_places_each_other_and_things():
    simulation, seen = Simulation(), []
    server, barrier, store = Server(simulation, 2), Barrier(simulation, 3), Store(simulation, 1)

    def visitor(name):
        yield server.request()
        yield 2
        server.release()
        seen.append((simulation.now, name))
        yield barrier
        seen.append((simulation.now, "together"))

    def maker():
        for _ in range(3):
            yield store.put()
            yield 1
            store.made()

    def taker():
        yield 10
        for _ in range(3):
            yield store.take()
            store.taken()
            seen.append((simulation.now, "thing"))

    for name in "abc":
        simulation.start(visitor(name))
    simulation.start(maker())
    simulation.start(taker())
    simulation.run()
    assert seen == [
        (2, "a"), (2, "b"), (4, "c"), (4, "together"), (4, "together"), (4, "together"),
        (10, "thing"), (11, "thing"), (12, "thing"),
    ]  # fmt: skip


def test_every_cost_says_where_it_comes_from(tmp_path):
    costs = read_costs(COSTS)
    assert costs.sources
    assert all(len(source) > 15 for source in costs.sources.values())
    text = COSTS.read_text()
    broken = tmp_path / "costs.yaml"
    broken.write_text(text.replace("source:", "sauce:", 1))
    with pytest.raises(CostsError, match="source"):
        read_costs(broken)
    broken.write_text("training: {}\n")
    with pytest.raises(CostsError, match="missing"):
        read_costs(broken)


def test_bytes_that_are_counted_without_contents_are_those_of_a_real_pass():
    import torch
    from network_memory import build, count, kept

    real, operations = kept(build("linknet", "tu-test_resnet", 3), 2, 64, torch.bfloat16)
    counted = count("linknet", "tu-test_resnet", 64, torch.bfloat16, 3)
    assert counted.kept_once + 2 * counted.kept_per_crop == pytest.approx(sum(real), rel=0.01)
    assert counted.flop_per_pixel == pytest.approx(operations / 2 / 64**2)
    assert max(real) == pytest.approx(2 * counted.largest_per_crop, rel=0.01)
    assert counted.kept_once > 0, "weights cast to bfloat16"
