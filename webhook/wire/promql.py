"""The queries of a sweep. Nothing but durations of the policy is ever put into them.

Names of objects stay out of PromQL: a query asks for all pods at once and the join with
owners happens in process, so that the number of queries is constant and no label can say
anything to Prometheus. There is no default for a missing series (``or vector(0)`` and the
like): absence arrives as absence.

Duplicates of one container or interface (an HA pair, two kubelet jobs, a restart) count
once, at their largest. Rates are taken per series before anything is added up, so that a
counter reset costs nothing.
"""

from datetime import timedelta

from webhook.core.policy import IdlePolicy
from webhook.core.readings import leave_range, startup

_CPU = 'container_cpu_usage_seconds_total{pod!="",container!="",container!="POD"}'
# Network counters belong to the pod's sandbox, so there is no container to ask for.
_RECEIVED = 'container_network_receive_bytes_total{pod!="",interface!="lo"}'


def sweep_queries(policy: IdlePolicy) -> dict[str, str]:
    """The instant queries of one sweep by name, all of which return vectors over namespace and pod."""
    steps = f"[{duration(policy.window)}:{duration(policy.step)}]"
    window = f"[{duration(policy.window)}]"
    cpu = f"max by (namespace, pod, container) (rate({_CPU}[{duration(policy.rate_window)}]))"
    received = f"max by (namespace, pod, interface) (rate({_RECEIVED}[{duration(policy.rate_window)}]))"
    recent = duration(leave_range(policy))
    life = seconds(startup(policy))
    # The burst of a start must not count. What a range still finds after a pod's end may: it is from its life.
    grown = f"unless on (namespace, pod) (kube_pod_start_time > time() - {life})"
    # Points are held against expectedPoints: only steps with a number, which NaN is not, and at which
    # kube-state-metrics knows the pod and its start-up is over.
    settled = f"(kube_pod_start_time <= time() - {life})"
    known = f"and on (namespace, pod) {settled}"
    return {
        "cpuPeak": f"max_over_time((sum by (namespace, pod) ({cpu}) {grown}){steps})",
        "cpuPoints": f"count_over_time(({cpu} >= 0 {known}){steps})",
        "cpuRecent": f"sum by (namespace, pod) (max by (namespace, pod, container) (rate({_CPU}[{recent}])))",
        "receivedPeak": f"max_over_time((sum by (namespace, pod) ({received}) {grown}){steps})",
        "receivedPoints": f"min by (namespace, pod) (count_over_time(({received} >= 0 {known}){steps}))",
        "receivedRecent": f"sum by (namespace, pod) (max by (namespace, pod, interface) (rate({_RECEIVED}[{recent}])))",
        "sampleTime": (
            f"min by (namespace, pod) (max by (namespace, pod, container) (timestamp({_CPU}))"
            f" or max by (namespace, pod, interface) (timestamp({_RECEIVED})))"
        ),
        "expectedPoints": f"max by (namespace, pod, uid) (count_over_time({settled}{steps}))",
        "runningPoints": (
            f'max by (namespace, pod, uid) (sum_over_time(kube_pod_status_phase{{phase="Running"}}{steps}))'
        ),
        "startTime": f"max by (namespace, pod, uid) (last_over_time(kube_pod_start_time{window}))",
        "owner": (
            "max by (namespace, pod, uid, owner_kind, owner_name) "
            f'(last_over_time(kube_pod_owner{{owner_is_controller="true"}}{window}))'
        ),
        "containers": (
            "count by (namespace, pod) (max by (namespace, pod, container) "
            f"(last_over_time(kube_pod_container_info{window})))"
        ),
    }


def node_queries(policy: IdlePolicy) -> dict[str, str]:
    """What nodes use: by node-exporter, and by cAdvisor where that cannot be joined to a node."""
    rate = f"[{duration(policy.rate_window)}]"
    busy = f'node_cpu_seconds_total{{mode!~"idle|iowait|steal|guest|guest_nice"}}{rate}'
    memory = "node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes"
    working = 'container_memory_working_set_bytes{pod!="",container!="",container!="POD"}'
    root = '{id="/"}'
    by_cpu = "sum by (node, instance) (max by (node, instance, cpu, mode)"
    by_container = "sum by (node) (max by (node, namespace, pod, container)"
    return {
        "nodes": "max by (node, internal_ip) (kube_node_info)",
        "exporterCpu": f"{by_cpu} (rate({busy})))",
        "exporterMemory": f"max by (node, instance) ({memory})",
        "exporterTime": "max by (node, instance) (timestamp(node_memory_MemAvailable_bytes))",
        "rootCpu": f"max by (node, instance) (rate(container_cpu_usage_seconds_total{root}{rate}))",
        "rootMemory": f"max by (node, instance) (container_memory_working_set_bytes{root})",
        "containersCpu": f"{by_container} (rate({_CPU}{rate})))",
        "containersMemory": f"{by_container} ({working}))",
        "cadvisorTime": "max by (node, instance) (timestamp(container_memory_working_set_bytes))",
    }


def duration(length: timedelta) -> str:
    """As PromQL writes it, exactly: milliseconds where seconds would lose something."""
    milliseconds = length // timedelta(milliseconds=1)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def seconds(length: timedelta) -> str:
    """As a PromQL number of seconds, exact to the millisecond."""
    return f"{length // timedelta(milliseconds=1) / 1000:.3f}"
