"""Words that name nobody: they are the same in every cluster, so a redacted snapshot may keep them."""

from webhook.core import consent
from webhook.core.policy import Mode, MoveWish, PlacementMode, SpotWish
from webhook.core.spotpool import PROVIDERS

NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
KINDS = frozenset(
    {
        *("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "Pod"),
        *("Node", "Rollout", "CloneSet", "DeploymentConfig", "GameServer", "RayCluster", "SparkApplication"),
    }
)
API_VERSIONS = frozenset({"v1", "apps/v1", "batch/v1", "argoproj.io/v1alpha1", "apps.openshift.io/v1"})
OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})

NODE_KEYS = frozenset(
    {row.label for row in PROVIDERS}
    | {row.unless[0] for row in PROVIDERS if row.unless is not None}
    | {
        *("kubernetes.io/os", "kubernetes.io/arch", "kubernetes.io/hostname"),
        *("topology.kubernetes.io/zone", "topology.kubernetes.io/region", "node.kubernetes.io/instance-type"),
    }
)
TAINT_KEYS = frozenset(
    {row.taint.key for row in PROVIDERS if row.taint is not None}
    | {
        f"node.kubernetes.io/{condition}"
        for condition in (
            *("not-ready", "unreachable", "unschedulable", "memory-pressure", "disk-pressure", "pid-pressure"),
            *("network-unavailable", "out-of-service"),
        )
    }
    | {"node.cloudprovider.kubernetes.io/uninitialized", "node.cloudprovider.kubernetes.io/shutdown"}
    | {"ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler", "karpenter.sh/disrupted"}
    | {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master", "CriticalAddonsOnly"}
)
LABEL_WORDS = frozenset(
    {value.lower() for row in PROVIDERS for value in (*row.values, *row.regular)}
    | {"", "true", "false", "yes", "no", "linux", "windows", "amd64", "arm64", "arm", "ppc64le", "s390x", "riscv64"}
)
"""In lower case, as values of node labels and of taints."""

ANNOTATIONS = frozenset(
    {consent.PREFIX + word for word in ("spot", "placement", "max-spot", "move", "mode", "weight", "skip", "decision")}
    | consent.FOREIGN_KEYS
    | {f"descheduler.alpha.kubernetes.io/{word}" for word in ("evict", "prefer-no-eviction", "request-evict-only")}
    | {"scheduler.alpha.kubernetes.io/tolerationsWhitelist", "controller.kubernetes.io/pod-deletion-cost"}
)
ANNOTATION_WORDS = frozenset(
    {word.value for words in (Mode, MoveWish, PlacementMode, SpotWish) for word in words}
    | {"", "true", "false", "on-demand", "spot", "od", "require-on-demand", "allow-spot"}
)
"""In lower case, as values of annotations and of labels on workloads and namespaces."""

SENTENCE = frozenset(
    """
    a about above active age allowed already an and anew ago answer are began before as at be been below between broke busy but by call
    cannot clock container could count counter current days did do does earlier each enough ended evidence every expected failed for from
    future good had has have header in interruption is it its idle known large last least less long longer low
    making max may min minute minutes missing monitor more most much must needed neither network never no nobody nor not
    nothing now of off off, old on once one only or other ours over own pod pods pods' ran rate rates reached received run
    restarted running runs sample samples saw scrape seconds seen series signal signals silent since small so spot start start-up started
    starts steps still succeeded succeeded: than that the their them then there these they this threshold threshold: throughout time to
    told too took under until up usable used value values was way were what when which while whole why will window with
    within without workload would yet young younger zero
    B/s kB/s MB/s GB/s s m h d days average a throughout
    CPU CPU-seconds Date Prometheus Prometheus: judged where nobody reachable unreachable cost unknown
    CronJob Job end read schedule made under name scrapes look-back
    """.split()  # noqa: SIM905 - prose is read as prose
)
"""What our own reasons are written in."""
