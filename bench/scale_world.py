"""The objects of a cluster of full size, as its API server would hold them. Synthetic; the same at each run.

5,000 nodes of about 6.5 KB; 5,000 Deployments with six pods each, the ReplicaSet that owns them and the one of
the roll-out before, at zero. Pods are of 4 to 6 KB, by the length of their environment. Whoever wrote a field
stands in ``managedFields``, as everywhere: a third of each object, and of no use to us.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

NODES = 5_000
DEPLOYMENTS = 5_000
PODS_PER_DEPLOYMENT = 6
PODS = DEPLOYMENTS * PODS_PER_DEPLOYMENT
NAMESPACES = 100
SPOT_EVERY = 5
REQUEST_CORES = 0.1

Object = dict


class Size(NamedTuple):
    """How much of the cluster there is; a smaller one is the beginning of the full one, on fewer nodes."""

    nodes: int = NODES
    deployments: int = DEPLOYMENTS

    @property
    def pods(self) -> int:
        return self.deployments * PODS_PER_DEPLOYMENT


FULL = Size()
_HASH, _OLD_HASH = "7d9c5b8f6d", "5f6b7c9d84"
_IMAGE = "registry.example/service"


def namespace_of(deployment: int) -> str:
    return f"team-{deployment % NAMESPACES:03d}"


def name_of(deployment: int) -> str:
    return f"service-{deployment:04d}"


def replicaset_of(deployment: int) -> str:
    return f"{name_of(deployment)}-{_HASH}"


def pod_of(deployment: int, index: int) -> tuple[str, str, str]:
    """(namespace, name, UID)."""
    name = f"{replicaset_of(deployment)}-{_digest('suffix', deployment, index)[:5]}"
    return namespace_of(deployment), name, _uid("pod", deployment, index)


def node_of(deployment: int, index: int, size: Size = FULL) -> str:
    return node_name((deployment * PODS_PER_DEPLOYMENT + index) % size.nodes)


def node_name(number: int) -> str:
    return f"ip-10-{number // 250}-{number % 250}-1.eu-central-1.compute.internal"


def node_address(number: int) -> str:
    return f"10.{number // 250}.{number % 250}.1"


def started(now: datetime) -> datetime:
    """When every pod did."""
    return now - timedelta(days=1)


def namespaces(now: datetime) -> list[Object]:
    return [
        _object("v1", "Namespace", {"name": f"team-{n:03d}", "uid": _uid("ns", n)}, now - timedelta(days=300))
        | {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        for n in range(NAMESPACES)
    ]


def node(number: int, now: datetime) -> Object:
    name, zone = node_name(number), f"eu-central-1{'abc'[number % 3]}"
    spot = number % SPOT_EVERY == 0
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": "m6i.2xlarge",
        "beta.kubernetes.io/os": "linux",
        "failure-domain.beta.kubernetes.io/region": "eu-central-1",
        "failure-domain.beta.kubernetes.io/zone": zone,
        "karpenter.sh/capacity-type": "spot" if spot else "on-demand",
        "karpenter.sh/nodepool": "spot" if spot else "general",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "m6i.2xlarge",
        "topology.ebs.csi.aws.com/zone": zone,
        "topology.kubernetes.io/region": "eu-central-1",
        "topology.kubernetes.io/zone": zone,
        "team.example/pool": f"pool-{number % 20}",
    }
    meta = {"name": name, "uid": _uid("node", number), "labels": labels, "annotations": _node_annotations(number)}
    meta["managedFields"] = _managed("kubelet", now, "status", _fields(("conditions", "images", "nodeInfo"), 9))
    amounts = {"cpu": "8", "memory": "32466848Ki", "pods": "58", "ephemeral-storage": "104845292Ki"}
    return _object("v1", "Node", meta, now - timedelta(days=20)) | {
        "spec": {"providerID": f"aws:///{zone}/i-{_digest('i', number)[:17]}", "podCIDR": f"10.{number % 200}.0.0/24"}
        | (
            {"taints": [{"key": "karpenter.sh/capacity-type", "value": "spot", "effect": "NoSchedule"}]} if spot else {}
        ),
        "status": {
            "capacity": amounts,
            "allocatable": amounts | {"cpu": "7910m", "memory": "31450016Ki"},
            "conditions": [_condition(*one, now=now) for one in _NODE_CONDITIONS],
            "addresses": [
                {"type": "InternalIP", "address": node_address(number)},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": _NODE_INFO | {"machineID": _digest("m", number)[:32], "systemUUID": _uid("sys", number)},
            "images": [_image(number, n) for n in range(20)],
        },
    }


def deployment(number: int, now: datetime) -> Object:
    meta = _named(name_of(number), number, "deployment")
    meta["annotations"] = {"deployment.kubernetes.io/revision": "2", "team.example/owner": f"squad-{number % 40}"}
    meta["managedFields"] = _managed("helm", now, "", _fields(_TEMPLATE_FIELDS, 40))
    meta["managedFields"] += _managed("kube-controller-manager", now, "status", _fields(("replicas",), 8))
    return _object("apps/v1", "Deployment", meta, now - timedelta(days=30)) | {
        "spec": {"replicas": PODS_PER_DEPLOYMENT, "revisionHistoryLimit": 10, **_selected(number, None)},
        "status": {"observedGeneration": 2, "replicas": PODS_PER_DEPLOYMENT, "readyReplicas": PODS_PER_DEPLOYMENT}
        | {"availableReplicas": PODS_PER_DEPLOYMENT, "updatedReplicas": PODS_PER_DEPLOYMENT},
    }


def replicasets(number: int, now: datetime) -> list[Object]:
    """The present one and the one before."""
    return [_replicaset(number, *one, now=now) for one in ((_HASH, PODS_PER_DEPLOYMENT, 5), (_OLD_HASH, 0, 30))]


def pod(deployment_number: int, index: int, now: datetime, size: Size = FULL) -> Object:
    namespace, name, uid = pod_of(deployment_number, index)
    since = started(now)
    meta = {"name": name, "namespace": namespace, "uid": uid, "generateName": f"{replicaset_of(deployment_number)}-"}
    meta["labels"] = _labels(deployment_number) | {"pod-template-hash": _HASH}
    meta["annotations"] = {"checksum/config": _digest("config", deployment_number), "prometheus.io/scrape": "true"}
    owner = ("apps/v1", "ReplicaSet", replicaset_of(deployment_number), _uid("rs", deployment_number, _HASH))
    meta["ownerReferences"] = [_owner(*owner)]
    meta["managedFields"] = _managed("kube-controller-manager", since, "", _fields(_POD_FIELDS, 12))
    meta["managedFields"] += _managed("kubelet", since, "status", _fields(("conditions", "containerStatuses"), 6))
    return _object("v1", "Pod", meta, since) | {
        "spec": _pod_spec(deployment_number, node_of(deployment_number, index, size)),
        "status": _pod_status(deployment_number, index, since),
    }


# --- parts of objects

_NODE_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ("NetworkUnavailable", "False", "RouteCreated", "RouteController created a route"),
)
_NODE_INFO = {
    "bootID": "5c3a2d50-0f5e-4f4c-8e4b-0a1f1f0e3b11",
    "kernelVersion": "6.12.40",
    "osImage": "Bottlerocket OS 1.50.0",
    "containerRuntimeVersion": "containerd://2.1.4",
    "kubeletVersion": "v1.37.2",
    "kubeProxyVersion": "",
    "operatingSystem": "linux",
    "architecture": "amd64",
}
_TEMPLATE_FIELDS = ("metadata", "labels", "annotations", "selector", "template", "containers", "strategy")
_POD_FIELDS = ("metadata", "labels", "ownerReferences", "containers", "tolerations", "volumes")


def _replicaset(number: int, revision: str, replicas: int, age_days: int, *, now: datetime) -> Object:
    meta = _named(f"{name_of(number)}-{revision}", number, "rs", revision)
    meta["labels"] = _labels(number) | {"pod-template-hash": revision}
    meta["annotations"] = {"deployment.kubernetes.io/desired-replicas": str(PODS_PER_DEPLOYMENT)}
    meta["ownerReferences"] = [_owner("apps/v1", "Deployment", name_of(number), _uid("deployment", number))]
    meta["managedFields"] = _managed("kube-controller-manager", now, "", _fields(_TEMPLATE_FIELDS, 30))
    return _object("apps/v1", "ReplicaSet", meta, now - timedelta(days=age_days)) | {
        "spec": {"replicas": replicas, **_selected(number, revision)},
        "status": {"observedGeneration": 1, "replicas": replicas} | ({"readyReplicas": replicas} if replicas else {}),
    }


def _selected(number: int, revision: str | None) -> Object:
    labels = _labels(number) | ({"pod-template-hash": revision} if revision else {})
    spec = _pod_spec(number, "")
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}


def _pod_spec(number: int, node_name: str) -> Object:
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10}
    mounts = [{"name": "config", "mountPath": "/etc/service", "readOnly": True}]
    if node_name:
        token = "/var/run/secrets/kubernetes.io/serviceaccount"
        mounts.append({"name": "kube-api-access-x7k2p", "mountPath": token, "readOnly": True})
    container = {
        "name": "app",
        "image": f"{_IMAGE}-{number % 300}:1.{number % 40}.0",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{n:02d}", "value": f"value-of-setting-{n}"} for n in range(number % 30)],
        "resources": {
            "requests": {"cpu": f"{round(REQUEST_CORES * 1000)}m", "memory": "256Mi"},
            "limits": {"memory": "512Mi"},
        },
        "volumeMounts": mounts,
        "livenessProbe": probe,
        "readinessProbe": probe,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": f"{name_of(number)}-config", "defaultMode": 420}}],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": name_of(number),
        "schedulerName": "default-scheduler",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
        "terminationGracePeriodSeconds": 30,
    }
    return spec | _placed(spec["volumes"], node_name) if node_name else spec


def _placed(volumes: list[Object], node_name: str) -> Object:
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    access = {"name": "kube-api-access-x7k2p", "projected": {"sources": sources, "defaultMode": 420}}
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    tolerations = [{"key": k, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for k in keys]
    return {
        "nodeName": node_name,
        "volumes": [*volumes, access],
        "tolerations": tolerations,
        "enableServiceLinks": True,
    }


def _pod_status(number: int, index: int, since: datetime) -> Object:
    address = f"10.{number // 250}.{number % 250}.{index + 10}"
    status = {
        "name": "app",
        "state": {"running": {"startedAt": _time(since)}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": f"{_IMAGE}-{number % 300}:1.{number % 40}.0",
        "imageID": f"{_IMAGE}-{number % 300}@sha256:{_digest('image', number)}",
        "containerID": f"containerd://{_digest('container', number, index)}",
        "started": True,
    }
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": _time(since)} for kind in conditions],
        "hostIP": "10.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": _time(since),
        "containerStatuses": [status],
        "qosClass": "Burstable",
    }


def _object(api_version: str, kind: str, metadata: Object, created: datetime) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata | {"creationTimestamp": _time(created)},
    }


def _named(name: str, number: int, *of: object) -> Object:
    uid = _uid(of[0], number, *of[1:])
    return {"name": name, "namespace": namespace_of(number), "uid": uid, "generation": 2, "labels": _labels(number)}


def _labels(number: int) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": name_of(number),
        "app.kubernetes.io/instance": name_of(number),
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "service-3.2.1",
    }


def _owner(api_version: str, kind: str, name: str, uid: str) -> Object:
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid} | {
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _managed(manager: str, at: datetime, subresource: str, fields: Object) -> list[Object]:
    entry = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": _time(at), "fieldsType": "FieldsV1"}
    return [entry | ({"subresource": subresource} if subresource else {}) | {"fieldsV1": fields}]


def _fields(tops: tuple[str, ...], leaves: int) -> Object:
    """So many leaves below so many branches, as long as they are in reality."""
    return {
        f"f:{top}": {".": {}} | {f"f:fieldOfTheObject{n:02d}": {} for n in range(i, leaves, len(tops))}
        for i, top in enumerate(tops)
    }


def _condition(kind: str, status: str, reason: str, message: str, *, now: datetime) -> Object:
    moments = {"lastHeartbeatTime": _time(now), "lastTransitionTime": _time(now - timedelta(days=20))}
    return {"type": kind, "status": status, "reason": reason, "message": message} | moments


def _image(number: int, index: int) -> Object:
    found = (number * 7 + index) % 300
    names = [f"{_IMAGE}-{found}@sha256:{_digest('image', found)}", f"{_IMAGE}-{found}:1.{found % 40}.0"]
    return {"names": names, "sizeBytes": 40_000_000 + found * 1_000_003}


def _node_annotations(number: int) -> dict[str, str]:
    return {
        "alpha.kubernetes.io/provided-node-ip": node_address(number),
        "csi.volume.kubernetes.io/nodeid": f'{{"ebs.csi.aws.com":"i-{_digest("i", number)[:17]}"}}',
        "node.alpha.kubernetes.io/ttl": "15",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    }


def _digest(*of: object) -> str:
    return hashlib.sha256("/".join(map(str, of)).encode()).hexdigest()


def _uid(*of: object) -> str:
    text = _digest("uid", *of)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
