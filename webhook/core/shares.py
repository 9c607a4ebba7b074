"""Whose share on spot is used up more than is allowed.

`max-spot` is drawn pod by pod at admission, so a burst may end above the share by chance, and
a scale-down or a lowered share leaves too many behind. The excess is counted here; trimming it
is the mover's.
"""

from webhook.core import consent
from webhook.core.model import WorkloadKey
from webhook.core.snapshot import Snapshot


def over_share(snapshot: Snapshot) -> dict[WorkloadKey, int]:
    """Pods on spot beyond ``max-spot``, for each workload that has any."""
    policy = snapshot.meta.policy
    found: dict[WorkloadKey, int] = {}
    for key, workload in snapshot.workloads.items():
        if workload.pods_on_spot:
            settled = consent.resolve(None, workload, snapshot.namespaces.get(key.namespace), policy)
            wanted = workload.pods if workload.replicas is None else workload.replicas
            excess = workload.pods_on_spot - consent.allowed_on_spot(settled.max_spot, max(wanted, 1))
            if settled.handled and excess > 0:
                found[key] = excess
    return found
