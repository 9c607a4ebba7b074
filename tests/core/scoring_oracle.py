"""The score again, slow and obvious: plain floats, one node and one resource at a time, straight from the snapshot.

It knows no tables, rows or ledgers. Amounts are kept by node and resource ("cpu", "memory"), in shares of allocatable.
"""

from math import floor, inf, isfinite, sqrt
from statistics import median

from webhook.core.model import CapacityType

CPU, MEMORY = "cpu", "memory"
LARGEST = 1e18


def scores(snapshot, candidate, names, *, now, flying=()):
    """Name -> 0..10 of the candidates ``names``, each once; ``flying`` are (node, namespace, Estimate) of the ledger."""
    nodes, policy = snapshot.nodes, snapshot.meta.policy.balance
    known = [name for name in names if name in nodes]
    if not known:
        return dict.fromkeys(names, 5)
    mine = [name for name in known if nodes[name].capacity_type is candidate.wants] or known
    found = dict.fromkeys(known, 0)
    blind = snapshot.meta.load_match_rate is None or snapshot.meta.load_match_rate < 0.9
    world = World(snapshot, flying)
    told = [] if blind else [name for name in mine if world.is_fresh(name, now)]
    if not told:
        found |= dict.fromkeys(mine, 10)
        return {name: found.get(name, 5) for name in names}
    risks = {name: world.risk(name, candidate) for name in told}
    lowest, highest = min(risks.values()), max(risks.values())
    step = max((highest - lowest) / 9, policy.noise, 1e-6)
    ranks = {name: 10 - min(9, floor((risk - lowest) / step + 1e-9)) for name, risk in risks.items()}
    middle = int(median(ranks.values()))
    found |= dict.fromkeys(mine, middle) | ranks
    return {name: found.get(name, middle) for name in names}


def excess(use, load, part):
    """Beyond its part: ``use`` and ``load`` as shares of allocatable, ``part`` w over the sum of w, 0..1."""
    return max(0.0, use - load * part)


def is_amount(*values):
    return all(isfinite(value) and 0 <= value < LARGEST for value in values)


class World:
    """What every node is taken to bear, before the candidate."""

    def __init__(self, snapshot, flying=()):
        self.snapshot, self.policy = snapshot, snapshot.meta.policy.balance
        self.mean, self.variance, self.use = {}, {}, {}
        for node in snapshot.nodes.values():
            self._measure(node)
        for pod in snapshot.bound.values():
            if pod.node in self.mean and is_estimate(pod.expected):
                self._add(pod.node, pod.namespace, pod.expected, self._missing(pod))
        regular = [name for name in self.mean if snapshot.nodes[name].capacity_type is CapacityType.REGULAR]
        chosen = regular or list(self.mean)
        self.reference = {
            resource: sum(self.mean[name][resource] for name in chosen) / len(chosen) if chosen else 0.0
            for resource in (CPU, MEMORY)
        }
        for name, namespace, estimate in flying:
            if name in self.mean:
                self._add(name, namespace, estimate, {CPU: 1.0, MEMORY: 1.0})

    def is_fresh(self, name, now):
        if name not in self.mean:
            return False
        return now <= self.snapshot.nodes[name].load.sampled_at.timestamp() + self.policy.max_age.total_seconds()

    def risk(self, name, candidate):
        """The worse of CPU and memory."""
        estimate = candidate.expected.estimate
        return max(
            self._risk(name, candidate.namespace, CPU, estimate.cpu_cores, estimate.cpu_deviation_cores),
            self._risk(name, candidate.namespace, MEMORY, estimate.memory_bytes, estimate.memory_deviation_bytes),
        )

    def _risk(self, name, namespace, resource, amount, deviation):
        size = self._size(name, resource)
        own = amount / size
        predicted = self.mean[name][resource] + own
        sigma = sqrt(self.variance[name][resource] + (deviation / size) ** 2)
        found = predicted + self.policy.risk_factor * sigma
        if predicted > self.reference[resource] + self.policy.noise + 1e-9:
            found += self.policy.fairness * self._excess(name, namespace, resource, own, predicted)
        return found

    def _excess(self, name, namespace, resource, own, predicted):
        there = {who: use for who, use in self.use[name].items() if use[CPU] or use[MEMORY]}
        if namespace not in there:
            return 0.0
        part = self._weight(namespace) / sum(self._weight(who) for who in there)
        return excess(there[namespace][resource] + own, predicted, part)

    def _weight(self, namespace):
        found = self.snapshot.namespaces.get(namespace)
        return found.weight if found and 0 < found.weight < inf else 1.0

    def _size(self, name, resource):
        allocatable = self.snapshot.nodes[name].allocatable
        return allocatable.cpu_cores if resource == CPU else allocatable.memory_bytes

    def _measure(self, node):
        load, size = node.load, (node.allocatable.cpu_cores, node.allocatable.memory_bytes)
        if (
            load is None
            or not all(1e-9 < one < inf for one in size)
            or not is_amount(load.cpu_cores, load.memory_bytes)
        ):
            return
        sigma = (load.cpu_deviation_cores, load.memory_deviation_bytes)
        sigma = sigma if is_amount(*sigma) else (0.0, 0.0)
        self.mean[node.name] = {CPU: load.cpu_cores / size[0], MEMORY: load.memory_bytes / size[1]}
        self.variance[node.name] = {CPU: (sigma[0] / size[0]) ** 2, MEMORY: (sigma[1] / size[1]) ** 2}
        self.use[node.name] = {
            namespace: {CPU: use.cpu_cores / size[0], MEMORY: use.memory_bytes / size[1]}
            for namespace, use in load.namespaces.items()
            if is_amount(use.cpu_cores, use.memory_bytes)
        }

    def _missing(self, pod):
        """By resource."""
        load, window = self.snapshot.nodes[pod.node].load, self.policy.window.total_seconds()
        told = load.memory_span_seconds
        spans = {CPU: window, MEMORY: told if told is not None and 0 <= told < window else window}
        if pod.started_at is None:
            return dict.fromkeys(spans, 1.0)
        age = (load.sampled_at - pod.started_at).total_seconds()
        return {resource: 1.0 - min(1.0, max(0.0, age / max(span, 1e-9))) for resource, span in spans.items()}

    def _add(self, name, namespace, estimate, parts):
        amounts = {
            CPU: (estimate.cpu_cores, estimate.cpu_deviation_cores),
            MEMORY: (estimate.memory_bytes, estimate.memory_deviation_bytes),
        }
        use = self.use[name].setdefault(namespace, {CPU: 0.0, MEMORY: 0.0})
        for resource, (amount, deviation) in amounts.items():
            size, part = self._size(name, resource), parts[resource]
            self.mean[name][resource] += part * amount / size
            self.variance[name][resource] += (part * deviation / size) ** 2
            use[resource] += part * amount / size


def is_estimate(estimate):
    return is_amount(
        estimate.cpu_cores,
        estimate.cpu_deviation_cores,
        estimate.memory_bytes,
        estimate.memory_deviation_bytes,
    )
