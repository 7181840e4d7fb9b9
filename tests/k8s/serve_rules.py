"""The file of Ray Serve inside a RayService: Ray's own schema, our own deployments, and room for them.

Each rule takes all objects of an installation and gives back what is wrong, in words. Ray is imported inside
of them: its import warns, which only tests can be told to let pass.
"""

import yaml
from installations import label
from pod_templates import groups, ray_cluster
from pydantic import BaseModel, ValidationError
from quantities import number


def _services(objects):
    for one in objects:
        if one["kind"] == "RayService":
            yield label(one), one, yaml.safe_load(one["spec"]["serveConfigV2"])


def _parts(config):
    """The deployments of the application by name, as the code makes them, and what the file says of each."""
    from ray._common.utils import import_attr
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

    (application,) = config["applications"]
    built = call_user_app_builder_with_args_if_necessary(
        import_attr(application["import_path"]), application.get("args", {})
    )
    api = built._bound_deployment
    made = {one.name: one for one in (api, *(bound._bound_deployment for bound in api.init_args))}
    said = {one["name"]: one for one in application.get("deployments", ())}
    return made, said


def ray_takes_the_file(objects):
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

    from services.serving.deploy import APPLICATION

    for where, _, config in _services(objects):
        try:
            ServeDeploySchema.model_validate(config)
            for one in config["applications"][0].get("deployments", ()):
                AutoscalingConfig.model_validate(
                    one.get("autoscaling_config", {})
                )  # any mapping, to Ray's schema
        except ValidationError as error:
            yield f"{where}: {error}"
            continue
        yield from (f"{where}: nobody reads {key}" for key in _unknown(config, ServeDeploySchema))
        (application,) = config["applications"]
        if application["name"] != APPLICATION:
            yield f"{where}: the application is called {APPLICATION}"


def _unknown(content, model):
    """Keys that the schema lets pass, and nobody reads."""
    for key, value in content.items():
        field = model.model_fields.get(key)
        if field is None:
            yield key
            continue
        for one in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(one, type) and issubclass(one, BaseModel):
                for each in value if isinstance(value, list) else [value]:
                    if isinstance(each, dict):
                        yield from _unknown(each, one)


def the_application_is_built(objects):
    for where, _, config in _services(objects):
        try:
            made, said = _parts(config)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service would not start
            yield f"{where}: {error}"
            continue
        yield from (f"{where}: there is no deployment {name}" for name in sorted(set(said) - set(made)))


def replicas_are_there_before_the_first_request(objects):
    """Serve does not start from none (Ray issue 59076); and the updater is one, the owner of its queue."""
    for where, _, config in _services(objects):
        made, said = _parts(config)
        for name, options in said.items():
            scaling = options.get("autoscaling_config")
            if scaling is None:
                continue
            if scaling.get("min_replicas", 0) < 1:
                yield f"{where}: min_replicas of {name} must be 1 or more"
            if options.get("num_replicas") != "auto":
                yield f"{where}: num_replicas of {name} must be auto, or the code's number holds"
            if scaling.get("target_ongoing_requests", 100) > made[name].max_ongoing_requests / 2:
                yield f"{where}: {name} would not scale before it refuses"
            if options.get("graceful_shutdown_timeout_s", 0) < 600:
                yield f"{where}: a replica of {name} is stopped while it works"
        if said.get("updater", {}).get("num_replicas", 1) != 1 or "autoscaling_config" in said.get(
            "updater", {}
        ):
            yield f"{where}: the updater is one"


def requests_reach_the_proxy(objects):
    for where, one, config in _services(objects):
        options = config.get("http_options", {})
        if options.get("host") != "0.0.0.0":  # noqa: S104 - of a pod, whose neighbours are shut out by policies
            yield f"{where}: Serve listens where no Service reaches it"
        for kind, name, group in groups(ray_cluster(one)):
            ports = {
                port["name"]: port["containerPort"]
                for port in group["template"]["spec"]["containers"][0].get("ports", ())
            }
            if ports.get("serve") != options.get("port", 8000):
                yield f"{where} {kind} {name}: the port serve is not Serve's"
        if config.get("proxy_location", "EveryNode") != "EveryNode":
            yield f"{where}: workers have no proxy, and are never ready"


def replicas_have_room(objects):
    """All of them at their largest number, on the pods that there can be."""
    for where, one, config in _services(objects):
        made, said = _parts(config)
        places = []
        for kind, _, group in groups(ray_cluster(one)):
            if kind == "worker":
                limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
                each = [number(limits["cpu"]), number(limits.get("nvidia.com/gpu", 0)), {}]
                places += [[*each[:2], {}] for _ in range(group["maxReplicas"])]
        wanted = []
        for name, deployment in made.items():
            options = said.get(name, {})
            actor = {**(deployment.ray_actor_options or {}), **options.get("ray_actor_options", {})}
            scaling = options.get("autoscaling_config", {})
            count = scaling.get("max_replicas") or options.get("num_replicas") or deployment.num_replicas
            cpus, gpus = number(actor.get("num_cpus", 1)), number(actor.get("num_gpus", 0))
            wanted += int(count) * [(gpus, cpus, name, options.get("max_replicas_per_node", int(count)))]
        for gpus, cpus, name, most in sorted(wanted, reverse=True):
            fitting = [
                place
                for place in places
                if place[0] >= cpus and place[1] >= gpus and place[2].get(name, 0) < most
            ]
            if not fitting:
                yield f"{where}: no room for every {name}"
                break
            place = min(fitting, key=lambda one: (one[1], one[0]))
            place[0] -= cpus
            place[1] -= gpus
            place[2][name] = place[2].get(name, 0) + 1


def a_second_node_serves(objects):
    """Where the head keeps its state elsewhere, requests do not depend on one replica either."""
    for where, one, config in _services(objects):
        if "gcsFaultToleranceOptions" not in one["spec"]["rayClusterConfig"]:
            continue
        _, said = _parts(config)
        for name in ("api", "predictor"):
            options = said.get(name, {})
            count = options.get("autoscaling_config", {}).get("min_replicas", options.get("num_replicas", 1))
            if count < 2 or options.get("max_replicas_per_node") != 1:
                yield f"{where}: two of {name}, on different nodes"


RULES = (
    ray_takes_the_file,
    the_application_is_built,
    replicas_are_there_before_the_first_request,
    requests_reach_the_proxy,
    replicas_have_room,
    a_second_node_serves,
)
