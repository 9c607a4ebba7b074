"""What bounds a move beside the pods themselves: budgets, autoscalers, quotas and volumes, as the API server tells them."""

from webhook.core.model import Requirement, Value


class DisruptionBudget(Value, frozen=True):
    """A PodDisruptionBudget. ``selector`` as label requirements that all must hold; empty selects every pod.

    ``min_available`` and ``max_unavailable`` as they are written, a number or percent, empty where the other is given.
    The rest is its status; ``is_current`` whether its controller has seen the last change of it.
    """

    namespace: str
    name: str
    selector: tuple[Requirement, ...] = ()
    selects_nothing: bool = False
    min_available: str = ""
    max_unavailable: str = ""
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    is_current: bool = True


class Autoscaler(Value, frozen=True):
    """A HorizontalPodAutoscaler and the workload it scales."""

    namespace: str
    name: str
    target_kind: str
    target_name: str
    min_replicas: int = 1
    max_replicas: int = 1
    current_replicas: int = 0
    desired_replicas: int = 0


class Quota(Value, frozen=True):
    """A ResourceQuota: what is ``hard`` and ``used``, by its keys (``pods``, ``requests.cpu``, ...), in base units.

    ``scoped``: it counts only some pods, and nobody here knows whether a new one is among them.
    """

    namespace: str
    name: str
    hard: dict[str, float] = {}
    used: dict[str, float] = {}
    scoped: bool = False


class Claim(Value, frozen=True):
    """A PersistentVolumeClaim; ``volume`` is empty until it is bound."""

    namespace: str
    name: str
    volume: str = ""
    access_modes: tuple[str, ...] = ()
    storage_class: str = ""


class Volume(Value, frozen=True):
    """A PersistentVolume; ``terms`` are its node affinity's, None where any node will do."""

    name: str
    terms: tuple[tuple[Requirement, ...], ...] | None = None
    access_modes: tuple[str, ...] = ()


class StorageClass(Value, frozen=True):
    """``waits``: a claim is bound only once a pod that uses it has a node. ``zones``: its allowed topologies."""

    name: str
    waits: bool = False
    terms: tuple[tuple[Requirement, ...], ...] | None = None


class Constraints(Value, frozen=True):
    """All of them. ``missing`` names the kinds that could not be read: what they would say is then unknown, not nothing."""

    budgets: tuple[DisruptionBudget, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    quotas: tuple[Quota, ...] = ()
    claims: tuple[Claim, ...] = ()
    volumes: tuple[Volume, ...] = ()
    storage_classes: tuple[StorageClass, ...] = ()
    missing: tuple[str, ...] = ()
