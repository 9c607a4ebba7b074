"""Why a single pod must not be touched: whose it is, what was asked for, and what would be lost with it."""

import re
from datetime import datetime

import msgspec

from webhook.core import consent
from webhook.core.bounds import Bounds
from webhook.core.census import PodFact
from webhook.core.consent import Consent, Level
from webhook.core.model import Namespace, Workload
from webhook.core.policy import Mode, Policy
from webhook.core.policy import Move as Way
from webhook.core.refusals import Refusal, Refused

_SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_SAFE_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
_DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
_PREFER_NO_EVICTION = "descheduler.alpha.kubernetes.io/prefer-no-eviction"
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

Annotations = tuple[tuple[str, str], ...]


class Asked:
    """What is asked for the pods of one workload at one moment; those of one template are settled once."""

    def __init__(self, workload: Workload, namespace: Namespace | None, policy: Policy, now: datetime) -> None:
        self.kind = workload.key.kind
        self._workload, self._namespace, self._policy, self._now = workload, namespace, policy, now
        self._settled: dict[Annotations, Consent] = {}

    def consent(self, pod: PodFact | None) -> Consent:
        """What is settled for a running pod; None stands for the next one."""
        said = self._heard(pod) if pod else ()
        if said not in self._settled:
            self._settled[said] = consent.resolve(dict(said), self._workload, self._namespace, self._policy)
        return self._settled[said]

    def by_name(self, pod: PodFact) -> bool:
        """Whether a rule or an annotation asked for it, and not only the kinds that are handled by default."""
        policy = msgspec.structs.replace(self._policy, kinds=())
        return consent.resolve(dict(self._heard(pod)), self._workload, self._namespace, policy).handled

    def veto(self, pod: PodFact | None) -> Refusal:
        """Whose word left no way: at each level ours comes first, so another tool's counts only where ours is silent."""
        said = {
            Level.POD: dict(self._heard(pod)) if pod else {},
            Level.WORKLOAD: self._workload.annotations,
            Level.NAMESPACE: self._namespace.annotations if self._namespace else {},
        }.get(self.consent(pod).moves_from, {})
        if said.get(consent.PREFIX + "move") in ("never", "auto"):
            return Refusal.NOT_ALLOWED
        if said.get(_SAFE) == "false":
            return Refusal.SAFE_TO_EVICT
        vetoes = {_DO_NOT_DISRUPT: Refusal.DO_NOT_DISRUPT, _PREFER_NO_EVICTION: Refusal.PREFER_NO_EVICTION}
        return next((refusal for key, refusal in vetoes.items() if key in said), Refusal.NOT_ALLOWED)

    def _heard(self, pod: PodFact) -> Annotations:
        """Its annotations, less a do-not-disrupt whose time is over: it counts from the pod's creation.

        For the pod that comes next it holds again, so nowhere else is it taken as over.
        """
        said = pod.needs.annotations
        if not said:
            return said
        duration = _seconds(dict(said).get(_DO_NOT_DISRUPT, ""))
        if duration is None or pod.created_at is None or (self._now - pod.created_at).total_seconds() < duration:
            return said
        return tuple((key, value) for key, value in said if key != _DO_NOT_DISRUPT)


def _seconds(text: str) -> float | None:
    """Of a duration as Go writes it; None for anything else."""
    if re.fullmatch(consent.DURATION, text, re.ASCII) is None:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def reason(pod: PodFact, asked: Asked, known: Bounds) -> Refused | None:
    """Why this pod must not be touched; None where nothing speaks against it."""
    no = _not_ours(pod) or unasked(pod, asked) or _loses(pod) or _claims(pod, asked, known)
    return no and Refused(no.refusal, f"pod {pod.name}: {no.detail}")


def unasked(pod: PodFact | None, asked: Asked) -> Refused | None:
    """What was asked for speaks against moving the pod; None stands for the next one."""
    settled = asked.consent(pod)
    if settled.mode is not Mode.MOVE:
        return Refused(Refusal.MODE, f"the mode is {settled.mode}, by {settled.mode_from}")
    if not settled.handled:
        return Refused(Refusal.KIND_NOT_HANDLED, f"nobody asked for a {asked.kind}")
    if not settled.moves:
        return Refused(asked.veto(pod), f"no way is allowed, by {settled.moves_from}")
    return None


def ways(pod: PodFact, asked: Asked) -> tuple[Way, ...]:
    """Those in which the pod may be moved."""
    return asked.consent(pod).moves


def _not_ours(pod: PodFact) -> Refused | None:
    if pod.needs.static:
        return Refused(Refusal.STATIC, "it is a static pod")
    if pod.controller is None:
        return Refused(Refusal.BARE, "it has no controller")
    if dict(pod.needs.labels).get(consent.SKIP_LABEL) == "true":
        # The webhook leaves its replacement alone, so it would come back where it was.
        return Refused(Refusal.OPTED_OUT, f"its label {consent.SKIP_LABEL} is true")
    return None


def _loses(pod: PodFact) -> Refused | None:
    needs, said = pod.needs, dict(pod.needs.annotations)
    if needs.critical:
        return Refused(Refusal.CRITICAL, "its priority is system critical")
    if needs.host_path:
        # Whatever its owner says is safe: the webhook steers no such pod, so its replacement would go anywhere.
        return Refused(Refusal.LOCAL_STORAGE, "it uses files of its node")
    if said.get(_SAFE) == "true":
        return None
    safe = {name.strip() for name in said.get(_SAFE_VOLUMES, "").split(",")}
    lost = [name for name in needs.local_volumes if name not in safe]
    return Refused(Refusal.LOCAL_STORAGE, f"volume {lost[0]} is local to its node") if lost else None


def _claims(pod: PodFact, asked: Asked, known: Bounds) -> Refused | None:
    """Volumes that outlive the pod are touched only where someone asked for it, and where they are known."""
    if not pod.needs.claims:
        return None
    if not asked.by_name(pod):
        return Refused(Refusal.CLAIMS, f"it uses claim {pod.needs.claims[0]}")
    unread = known.unread_claim(pod)
    return Refused(Refusal.CLAIMS_UNKNOWN, f"claim {unread} could not be read") if unread else None
