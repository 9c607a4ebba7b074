"""What an operator decides, with the reason beside each default.

These are the parsed values; webhook/settings.py reads them from the configuration file
and tells all faults at once. The effective policy travels inside the snapshot, so that a
captured file explains itself and the server needs no configuration of its own. They are
written out in full, defaults too: a replay must not change because a later release does.
"""

from datetime import timedelta
from enum import StrEnum

from webhook.core.model import Requirement, Taint, Value


class Mode(StrEnum):
    """How far spot-balancer may go: only look, patch new pods, or also move running ones."""

    OBSERVE = "observe"
    INJECT = "inject"
    MOVE = "move"


class PlacementMode(StrEnum):
    """A wish the scheduler weighs, or a demand it must meet."""

    PREFERRED = "preferred"
    REQUIRED = "required"


class SpotWish(StrEnum):
    """``auto`` follows the evidence, ``always`` and ``never`` need none."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Move(StrEnum):
    """A way to bring a running pod to its side, as an operator may allow it."""

    SURGE = "surge"
    EVICT = "evict"
    RESTART = "restart"


class MoveWish(StrEnum):
    """What a workload asks for: any allowed way, one of them, or none."""

    AUTO = "auto"
    SURGE = "surge"
    EVICT = "evict"
    RESTART = "restart"
    NEVER = "never"


class SignalOf(StrEnum):
    """What one series of a user's own signal speaks of."""

    POD = "pod"
    WORKLOAD = "workload"


class CustomSignal(Value, frozen=True):
    """A user's own PromQL beside CPU and received network: it too must be low to be idle.

    ``query`` gives a vector over ``namespace`` and ``pod``, or ``namespace`` and ``workload``; of several series for
    one, the largest counts. Absence is unknown, as it is for every signal. ``active_above`` None is ``leave_factor``
    times ``idle_below``.
    """

    name: str
    query: str
    idle_below: float
    active_above: float | None = None
    unit: str = ""
    of: SignalOf = SignalOf.POD


class BatchPolicy(Value, frozen=True, omit_defaults=False):
    """When the next run of a CronJob may go to spot: an interruption costs one run done again, so runs must be small."""

    window: timedelta = timedelta(days=7)
    """Runs that ended longer ago say nothing any more; a week holds its quiet and its busy days."""
    min_runs: int = 3
    """The last so many runs must all have been small and successful; two alike may be chance."""
    max_duration: timedelta = timedelta(minutes=15)
    """Small up to here: what an interruption loses at the worst."""
    max_cpu_seconds: float = 600.0
    """Small up to here, all pods of the run together: ten minutes of one core are cheap to do again."""


class IdlePolicy(Value, frozen=True, omit_defaults=False):
    """When a workload counts as idle. Every signal must be low; any one high means active."""

    window: timedelta = timedelta(minutes=60)
    """Look-back. An hour sees what runs every hour; a shorter one calls its pauses idle and flaps."""
    rate_window: timedelta = timedelta(minutes=5)
    """Range of each rate: five scrapes of the common 60 s, so that one lost scrape leaves a value."""
    step: timedelta = timedelta(minutes=1)
    """Rates are taken every minute: windows side by side would see nothing of what happens on their border."""
    cpu_share_of_request: float = 0.05
    """Idle below this share of the CPU requests, where it is more than the floor."""
    cpu_floor_cores: float = 0.010
    """A runtime's housekeeping costs a few millicores; without a floor, pods with small requests never rest. Per pod."""
    received_bytes_per_second: float = 1000.0
    """Received only, per pod: answering a scrape alone sends more than this, so sent bytes say nothing."""
    leave_factor: float = 2.0
    """Active above idle's threshold times this: the gap keeps a workload at the border from flapping."""
    leave_window: timedelta = timedelta(minutes=2)
    """Active is looked for in the last two minutes, or four scrape intervals if that is longer: waking must be quick."""
    scrape_interval: timedelta = timedelta(seconds=60)
    """The slowest scrape of the metrics used; 60 s is the common default of Prometheus."""
    startup_grace: timedelta = timedelta(minutes=5)
    """CPU in a pod's first minutes counts neither way, or our own moves would poison the evidence."""
    min_coverage: float = 0.8
    """Pod-time seen over pod-time existed; below it a run is unknown."""
    max_clock_skew: timedelta = timedelta(seconds=30)
    """Between our clock and the Date header of Prometheus; beyond it ages cannot be told."""
    signals: tuple[CustomSignal, ...] = ()
    """Further signals, each a PromQL of your own: what CPU and network do not show, such as requests or a queue."""
    batch: BatchPolicy = BatchPolicy()
    """When the next run of a CronJob may go to spot, by its past ones; see below."""


class SidePolicy(Value, frozen=True, omit_defaults=False):
    """How evidence becomes a side: slow to spot, quick back."""

    idle_runs_to_spot: int = 5
    """Idle runs in a row before spot. One look-back already holds an hour; five runs keep one odd sweep from deciding."""
    evidence_ttl: timedelta = timedelta(hours=1)
    """Without good evidence for this long, patch nothing and move nothing; running pods stay."""
    heartbeat_ttl: timedelta = timedelta(minutes=10)
    """A book nobody has touched for ten runs of the monitor is old news."""


class Limits(Value, frozen=True, omit_defaults=False):
    """How many pods may be disrupted in any ``window``: a number, or a percent that is rounded up.

    A percent ``per_run`` and ``per_cluster`` is of the workloads that may be moved (to spot) or of the pods on spot (to
    regular), ``per_namespace`` the same within one namespace, ``per_workload`` of its replicas, ``per_node`` of the pods
    on the node that is left.
    """

    window: timedelta = timedelta(minutes=10)
    """Long enough to see what the last moves did before the next ones count as others."""
    per_run: str = "10"
    """One run must not spend a large cluster's whole budget at once."""
    per_cluster: str = "5%"
    """The harm that a wrong verdict on everybody can do before somebody looks."""
    per_namespace: str = "25%"
    """No team bears all of it."""
    per_workload: str = "25%"
    """Rounded up, so that a workload of three loses one pod at most."""
    per_node: str = "2"
    """A node's pods share their caches and their autoscaler's attention: it is not emptied in one go."""


class MovePolicy(Value, frozen=True, omit_defaults=False):
    """How running pods are brought to their side. See docs/moving.md."""

    to_spot: Limits = Limits()
    """Nobody waits for a move to spot, so it may be slow: one workload in twenty in ten minutes."""
    to_regular: Limits = Limits(
        window=timedelta(minutes=1), per_run="100%", per_cluster="10%", per_namespace="100%", per_node="100%"
    )
    """Somebody waits for the way back, so it is bounded only by what the regular nodes can take at once."""
    dwell: timedelta = timedelta(hours=1)
    """Between a return and the next move to spot; each return within it doubles the next, up to a day."""
    canary: timedelta = timedelta(minutes=10)
    """The first pod of a workload runs on spot alone for so long before the others follow."""
    patience: timedelta = timedelta(minutes=10)
    """How long a new pod may be Pending or not Ready before its move is undone: an autoscaler's node takes five."""
    settle: timedelta = timedelta(seconds=5)
    """Between a word in the book and what relies on it: sync and server follow the book within this."""
    attempts: int = 3
    """So many moves in a row that came to nothing end the tries, until a day has passed or `resume`."""
    backoff: timedelta = timedelta(minutes=10)
    """After the first move that came to nothing; doubled by each further one, up to a day."""
    healthy_for: timedelta = timedelta(minutes=10)
    """So long spot nodes must have been well, after they were not, before anything moves to spot again."""
    max_unready: float = 0.33
    """Share of spot nodes that are NotReady, or gone within ``healthy_for``, beyond which spot has a bad day."""
    run_seconds: float = 20.0
    """How long one run may spend on moves; what is not done then, the next run goes on with."""


class BalancePolicy(Value, frozen=True, omit_defaults=False):
    """How nodes are scored for a pod by the scheduler extender. See docs/balancing.md."""

    window: timedelta = timedelta(minutes=5)
    """Node load is the mean over it. Shorter is noise; in a longer one, pods placed since stay guesses for longer."""
    habit: timedelta = timedelta(hours=1)
    """What a pod is like is its mean over it: minutes are chance. As long as ``window``, no more is asked than that."""
    max_age: timedelta = timedelta(minutes=5)
    """An older load says nothing any more: such a node is scored as the middle of the others."""
    risk_factor: float = 1.0
    """Standard deviations added to the mean: a node that swings is fuller than it looks."""
    fairness: float = 0.5
    """How much of a namespace's use beyond its part of a busy node counts again, 0..1."""
    noise: float = 0.02
    """Nodes whose risk differs by less than this share of allocatable are equal."""
    filter_above: float | None = None
    """Share of allocatable from which a node's measured load keeps pods away. None: nothing is filtered."""
    best: int | None = None
    """Answer only so many of the best nodes; None answers all that score above 0."""


class SpotPool(Value, frozen=True):
    """A pool that an autoscaler can grow from nothing, so that no live node shows its marker.

    ``marker`` is the alternative its nodes will match, ``taints`` those they will carry.
    """

    name: str
    marker: tuple[Requirement, ...]
    taints: tuple[Taint, ...] = ()


class Match(Value, frozen=True):
    """Which workloads a rule is for: every part that is given must hold, and one word of each part.

    A word is exact, or a regular expression between slashes that must match the whole: ``/team-.*/``. Labels are those
    of the workload's own object (not of its pods), and of its namespace.
    """

    namespaces: tuple[str, ...] = ()
    namespace_labels: dict[str, str] = {}
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: dict[str, str] = {}


ANNOTATIONS = ("spot", "placement", "max-spot", "move", "weight")
"""What a tenant may ask for; asking for less (never, preferred, a lower mode) is always heard."""


class Rule(Value, frozen=True):
    """An operator's word on some workloads; None is what the policy says for all. The first rule that matches counts.

    ``idle`` is whole: what the rule says on top of the policy's own. ``weight`` is of namespaces, so it holds where the
    rule names namespaces only. ``scheduler_name`` goes to pods that have the default one.
    """

    name: str
    match: Match = Match()
    mode: Mode | None = None
    spot: SpotWish | None = None
    placement: PlacementMode | None = None
    max_spot: str | None = None
    allowed_moves: tuple[Move, ...] | None = None
    allowed_annotations: tuple[str, ...] | None = None
    idle: IdlePolicy | None = None
    weight: float | None = None
    scheduler_name: str | None = None


class Policy(Value, frozen=True, omit_defaults=False):
    """The whole of it. ``mode`` observes until an operator says otherwise."""

    mode: Mode = Mode.OBSERVE
    placement: PlacementMode = PlacementMode.PREFERRED
    preferred_weight: int = 100
    """Of our preference in node affinity, 1..100."""
    max_spot: str = "100%"
    """Share or count of a workload's pods on spot, as ``50%`` or ``3``."""
    allowed_moves: tuple[Move, ...] = (Move.SURGE, Move.EVICT)
    """Ways to move a running pod; a restart writes the owner's template, so it must be allowed by name."""
    allowed_annotations: tuple[str, ...] = ANNOTATIONS
    rules: tuple[Rule, ...] = ()
    idle: IdlePolicy = IdlePolicy()
    sides: SidePolicy = SidePolicy()
    moves: MovePolicy = MovePolicy()
    balance: BalancePolicy = BalancePolicy()
    kinds: tuple[str, ...] = ("Deployment", "CronJob")
    """Kinds handled without a rule or annotation that names them; others need ``spot: always`` or a rule."""
    excluded_namespaces: tuple[str, ...] = ("kube-system", "kube-public", "kube-node-lease")
    spot_labels: tuple[tuple[Requirement, ...], ...] = ()
    """Markers of spot nodes beside the provider table, each a conjunction."""
    spot_taints: tuple[Taint, ...] = ()
    """Taints that may be tolerated beside the provider table's markers; an empty value matches any."""
    spot_pools: tuple[SpotPool, ...] = ()
    pause: tuple[str, ...] = ()
    """Of ``injection``, ``moves``, ``scoring``; takes effect within one refresh of the snapshot."""
