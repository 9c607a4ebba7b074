"""What goes wrong in a simulated cluster: interruptions of spot, flapping nodes, outages, dying pods, killed runs."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from webhook.core.model import Value
from webhook.simulation.api import Strike, Trouble
from webhook.simulation.cluster import Cluster
from webhook.simulation.objects import NodeSpec

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0


class Weather(Value, frozen=True, omit_defaults=False):
    """How often what happens, a day, and for runs and calls as a chance.

    A storm takes all spot nodes at once; they come back one after the other, after 10 minutes to 2 hours. A reclaim
    takes one, and another comes within 10 minutes. While nodes flap, each is not Ready every other few minutes, for one
    to six hours. In an outage Prometheus neither answers nor scrapes, for 5 to 90 minutes.
    """

    storms: float = 0.0
    reclaims: float = 0.0
    flaps: float = 0.0
    outages: float = 0.0
    pod_failures: float = 0.0
    crash_chance: float = 0.0
    fault_chance: float = 0.0


CALM = Weather()
ROUGH = Weather(
    storms=0.5, reclaims=3.0, flaps=0.3, outages=0.7, pod_failures=4.0, crash_chance=0.02, fault_chance=0.005
)
"""Each kind of trouble within a week, and all of them in its middle."""


class Forecast:
    """Puts a span of weather into a cluster's future; of another seed than the cluster's own, so that it stays the same.

    ``outages`` has one byte for each minute of the span, 1 while Prometheus is away.
    """

    def __init__(self, weather: Weather, cluster: Cluster, *, minutes: int, seed: str) -> None:
        self._weather, self._cluster = weather, cluster
        self._rng = Random(f"weather {seed}")  # noqa: S311 - a week that can be told again
        self._seconds = minutes * MINUTE
        self.happened: list[tuple[float, str]] = []
        self._bring(weather.storms, "storm", self._storm)
        self._bring(weather.reclaims, "reclaim", self._reclaim)
        self._bring(weather.flaps, "flap", self._flap)
        self._bring(weather.pod_failures, "pod failure", self._fail_pod)
        self.outages = self._outages(minutes)

    def _times(self, a_day: float) -> Iterator[float]:
        at = 0.0
        while a_day > 0:
            at += self._rng.expovariate(a_day / DAY)
            if at >= self._seconds:
                return
            yield at

    def _bring(self, a_day: float, what: str, act: Callable[[Random], None]) -> None:
        for at in list(self._times(a_day)):
            self.happened.append((at, what))
            self._cluster.later(at, partial(act, Random(self._rng.random())))  # noqa: S311

    def _spot(self) -> list[str]:
        return [name for name, node in self._cluster.nodes.items() if node.spot]

    def _take(self, name: str, back_in: float) -> None:
        spec = self._cluster.specs[name]
        self._cluster.remove_node(name)
        self._cluster.later(back_in, partial(self._bring_back, spec))

    def _bring_back(self, spec: NodeSpec) -> None:
        if spec.name not in self._cluster.nodes:
            self._cluster.add_node(spec)

    def _storm(self, rng: Random) -> None:
        away = rng.uniform(10 * MINUTE, 2 * HOUR)
        for number, name in enumerate(self._spot()):
            self._take(name, away + number * rng.uniform(5, 60))

    def _reclaim(self, rng: Random) -> None:
        if spot := self._spot():
            self._take(rng.choice(spot), rng.uniform(MINUTE, 10 * MINUTE))

    def _flap(self, rng: Random) -> None:
        period = rng.uniform(4 * MINUTE, 12 * MINUTE)
        for turn in range(int(rng.uniform(HOUR, 6 * HOUR) / period)):
            for name in self._spot():
                self._cluster.later(turn * period, partial(self._set, name, ready=False))
                self._cluster.later((turn + 0.5) * period, partial(self._set, name, ready=True))

    def _set(self, name: str, *, ready: bool) -> None:
        if name in self._cluster.nodes:
            self._cluster.set_node(name, ready=ready)

    def _fail_pod(self, rng: Random) -> None:
        found = rng.choice(list(self._cluster.deployments.values()))
        if found.pods:
            self._cluster.fail_pod(found.key, rng.choice([pod.fact.name for pod in found.pods.values()]))

    def _outages(self, minutes: int) -> bytes:
        mask = bytearray(minutes)
        for at in self._times(self._weather.outages):
            first = int(at / MINUTE)
            last = min(minutes, first + int(self._rng.uniform(5, 90)))
            mask[first:last] = b"\x01" * (last - first)
        return bytes(mask)


class Troubles:
    """The trouble of each run of the mover, by its minute alone: runs that are left out change no other's."""

    def __init__(self, weather: Weather, seed: str) -> None:
        self._weather, self._seed = weather, seed

    def of_run(self, at: int) -> Trouble:
        """Whether the run of that minute is killed, at which call, and which of its calls fail."""
        rng, chance = Random(f"trouble {self._seed} {at}"), self._weather.fault_chance  # noqa: S311
        crash_at = rng.randint(1, 40) if rng.random() < self._weather.crash_chance else 0
        how = rng.choice((Strike.CRASH_BEFORE, Strike.CRASH_AFTER))

        def trouble(_: str, number: int) -> Strike | None:
            if number == crash_at:
                return how
            return rng.choice((Strike.REFUSED, Strike.LOST)) if chance and rng.random() < chance else None

        return trouble
