"""What the tests of the scheduler extender share: a town whose scheduler asks us, and beside it one that does not.

The nodes' load is what a test says they use besides its pods; five minutes of it take ten seconds here. Pods that name
the scheduler `stock` are placed by a second real kube-scheduler, on the same nodes, as they would be without us.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml

from tests.e2e.town import HOME, REGULAR, SHOP, Town, create_dry
from tests.parts import manifests
from tests.parts.kube_api import MERGE_PATCH, path_of
from tests.parts.processes import T, wait_for
from webhook.adapters import snapshots
from webhook.core.model import Workload, WorkloadKey

STOCK = "stock"
BALANCE = {"window": "10s", "maxAge": "5m"}
# Of pods that began a moment ago, the first look at their habits may hold a window that began before them, for five
# minutes; a habit as short as the window is not asked for.
NO_HABITS = BALANCE | {"habit": BALANCE["window"]}
# A test's scheduler is alone, and its API server need not be spared.
CLIENT = {"qps": 5000, "burst": 10000}
Spread = dict[str, int]


def balanced_town(
    make_town: Callable[..., Any],
    loads: Mapping[str, float],
    *,
    cpu: str = "8",
    residents: Callable[[Town], object] = lambda _: None,
    **config: Any,
) -> Town:
    """Regular nodes that use so many cores besides their pods; both schedulers run, and the server knows of it all.

    `residents` brings in who is there before us, while the scheduler asks nobody yet: what they use is then known from
    the first look at it, and the next one is a minute later.
    """
    town: Town = make_town(serve_flags=("--extender",), **{"balance": BALANCE, **config})
    town.plane.namespace(SHOP)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: town.plane.apply(manifests.node(name, labels=REGULAR, cpu=cpu)), loads))
    use(town, loads)
    town.plane.scheduler_beside(STOCK, {"profiles": [{"schedulerName": STOCK}], "clientConnection": client(town)})
    residents(town)
    extend_scheduler(town)
    nodes = len(town.plane.list_all("Node"))
    _await_samples(town, nodes)
    town.start()
    wait_for(lambda: nodes_with_load(town) == nodes, 90, "all nodes' loads to be known", every_s=0.5)
    town.await_server()
    return town


def _await_samples(town: Town, nodes: int) -> None:
    """Until Prometheus has a whole window of everybody."""
    cpu = "container_cpu_usage_seconds_total"

    def told() -> bool:
        seen = town.prometheus.value(f'count({cpu}{{id="/"}})')
        fewest = town.prometheus.value(f"min(count_over_time({cpu}[12s]))")
        return seen == nodes and fewest >= 11

    wait_for(told, 120, "Prometheus to have scraped everybody for a window", every_s=0.5)


def use(town: Town, loads: Mapping[str, float]) -> None:
    """Lets nodes use so many cores from now on, whatever their pods do."""
    for name, cores in loads.items():
        town.exporter.set_node_usage(name, cpu_cores=cores, memory_bytes=2**30)


def client(town: Town) -> dict[str, Any]:
    """How a scheduler reaches the API server."""
    return {"kubeconfig": str(town.plane.folder / "kube-scheduler.kubeconfig"), **CLIENT}


def register(town: Town) -> None:
    """Registers the webhook, and waits until the API server calls it: it learns of a registration by a watch."""
    town.register_webhook()
    probe = manifests.pod("probe", namespace=SHOP)
    wait_for(lambda: town.decided(lambda: create_dry(town.plane, probe))[1], 20, "the API server to call us")


def printed_configuration(town: Town, *, second: str = "") -> dict[str, Any]:
    """What `scheduler-config` prints, for a second scheduler with the CA as a file beside it.

    As printed, but for this plane's API server, and the Lease, which nobody else wants.
    """
    authority = str(town.pair.ca_file)
    flags = ["--second", second, "-n", HOME, "--ca-path", authority] if second else ["--ca-file", authority]
    address = ["--url", f"https://127.0.0.1:{town.server_port}", "--server-name", "127.0.0.1"]
    done = town.command("scheduler-config", *address, *flags)
    config: dict[str, Any] = yaml.safe_load(done.stdout)
    return config | {"clientConnection": client(town), "leaderElection": {"leaderElect": False}}


def extend_scheduler(town: Town) -> None:
    """Restarts the plane's own scheduler with the configuration that we print."""
    town.plane.stop("scheduler")
    town.plane.set_scheduler_config(printed_configuration(town))
    town.plane.start("scheduler")


def asked(town: Town, act: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What `act` returned, and what the server answered the scheduler meanwhile: calls by reason."""
    before = town.prioritized()
    result = act()
    after = town.prioritized()
    return result, {reason: n - before.get(reason, 0) for reason, n in after.items() if n != before.get(reason, 0)}


def nodes_with_load(town: Town) -> int:
    """Of how many nodes the server's snapshot tells what they use."""
    return sum(node.load is not None for node in snapshots.load(town.snapshots).nodes.values())


def known_workload(town: Town, name: str, *, namespace: str = SHOP) -> Workload:
    return snapshots.load(town.snapshots).workloads[WorkloadKey(namespace, "Deployment", name)]


def await_loads(town: Town, loads: Mapping[str, float], *, near: float = 0.1) -> None:
    """Until the server knows of each node that it uses so many cores, pods included, give or take `near`."""

    def told() -> bool:
        nodes = snapshots.load(town.snapshots).nodes
        seen = {name: load.cpu_cores if (load := nodes[name].load) else None for name in loads}
        assert all(cores is not None and abs(cores - loads[name]) <= near for name, cores in seen.items()), seen
        return True

    wait_for(told, 90, f"the nodes' loads to be known as {dict(loads)}", every_s=0.5)
    town.await_server()


def await_policy(town: Town, **expected: Any) -> None:
    """Until the server decides by a balance policy of these fields."""

    def told() -> bool:
        policy = snapshots.load(town.snapshots).meta.policy.balance
        return all(getattr(policy, name) == value for name, value in expected.items())

    wait_for(told, 60, f"the configuration to be read as {expected}", every_s=0.5)
    town.await_server()


def cordon(town: Town, nodes: Sequence[str], *, on: bool) -> None:
    for node in nodes:
        change = {"spec": {"unschedulable": on}}
        town.plane.api("PATCH", path_of("Node", name=node), change, content_type=MERGE_PATCH)


def await_ratio(town: Town, namespace: str, ratio: float) -> None:
    """Until the server knows how many times its CPU requests a namespace uses."""

    def told() -> bool:
        found = snapshots.load(town.snapshots).namespaces[namespace].use_ratio
        assert abs(((found and found.cpu) or 0) - ratio) <= 0.1 * ratio, found
        return True

    wait_for(told, 150, f"{namespace} to be known to use {ratio} x its requests", every_s=0.5)
    town.await_server()


def await_use(town: Town, name: str, cores: float, *, namespace: str = SHOP) -> None:
    """Until the server knows what one pod of a Deployment uses."""

    def told() -> bool:
        found = known_workload(town, name, namespace=namespace).use
        assert abs((found.cpu_cores if found else 0) - cores) <= 0.1 * cores, found
        return True

    wait_for(told, 150, f"{cores} cores to be known of a pod of {name}", every_s=0.5)
    town.await_server()


def burst(
    town: Town, name: str, pods: int, *, scheduler: str = "default-scheduler", namespace: str = SHOP, **facts: Any
) -> Spread:
    """How many of a new Deployment's pods run on each node, once all do."""
    made = manifests.deployment(name, namespace=namespace, replicas=pods, schedulerName=scheduler, **facts)
    town.plane.apply(made)
    return await_running(town, name, pods, namespace=namespace)


def burst_of_known(
    town: Town, name: str, pods: int, *, scheduler: str = "default-scheduler", namespace: str = SHOP, **facts: Any
) -> Spread:
    """As `burst`, of a Deployment that the server knows by then: a pod of nobody that is known, it steers nowhere."""
    made = manifests.deployment(name, namespace=namespace, replicas=0, schedulerName=scheduler, **facts)
    town.plane.apply(made)
    wait_for(lambda: known_workload(town, name, namespace=namespace), 30, f"{name} to be known", every_s=0.3)
    town.await_server()
    town.plane.scale(name, pods, namespace=namespace)
    return await_running(town, name, pods, namespace=namespace)


def start_job(
    town: Town, name: str, pods: int, *, scheduler: str = "default-scheduler", namespace: str = SHOP, **spec: Any
) -> None:
    """All its pods at once. The default spreading does not count a Job's pods: nothing but scores keeps them apart."""
    job = manifests.job(name, namespace=namespace, completes=False, schedulerName=scheduler, **spec)
    job["spec"] |= {"parallelism": pods, "completions": pods}
    town.plane.apply(job)


def end_job(town: Town, name: str, *, namespace: str = SHOP) -> None:
    """Deletes it, and waits until its pods are gone."""
    path = path_of("Job", namespace=namespace, name=name, query={"propagationPolicy": "Background"})
    town.plane.api("DELETE", path)
    wait_for(lambda: not town.plane.pods(namespace, f"app={name}"), 60, f"{name} to be gone", every_s=0.3)


def await_running(town: Town, name: str, pods: int, *, namespace: str = SHOP) -> Spread:
    wait_for(
        lambda: len(town.plane.running(namespace, f"app={name}")) == pods, 120, f"{pods} pods of {name}", every_s=0.3
    )
    return spread(town, name, namespace=namespace)


def spread(town: Town, name: str, *, namespace: str = SHOP) -> Spread:
    """By node, zero where none of its pods is."""
    found = dict.fromkeys((node["metadata"]["name"] for node in town.plane.list_all("Node")), 0)
    for pod in town.plane.running(namespace, f"app={name}"):
        found[pod["spec"]["nodeName"]] += 1
    return found


def remove(town: Town, *names: str, namespace: str = SHOP) -> None:
    """Deletes Deployments, and waits until their pods are gone."""
    for name in names:
        town.plane.delete("Deployment", name, namespace=namespace)
    chosen = f"app in ({','.join(names)})"
    wait_for(lambda: not town.plane.pods(namespace, chosen), 60, f"{names} to be gone", every_s=0.3)
