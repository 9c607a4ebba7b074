"""The peer of ``bench.scale``: the same kinds, kept by the official client's own ``SharedInformer``.

``python -m bench.scale_peer KUBECONFIG`` prints one line of JSON once every cache is filled, and waits to be ended.
"""

import json
import sys
import threading
import time


def main(kubeconfig: str) -> None:
    from kubernetes import client, config
    from kubernetes.informer import SharedInformer

    config.load_kube_config(kubeconfig)
    core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
    lists = {
        "Node": core.list_node,
        "Pod": core.list_pod_for_all_namespaces,
        "Namespace": core.list_namespace,
        "ReplicaSet": apps.list_replica_set_for_all_namespaces,
        "Deployment": apps.list_deployment_for_all_namespaces,
        "StatefulSet": apps.list_stateful_set_for_all_namespaces,
        "Job": batch.list_job_for_all_namespaces,
        "CronJob": batch.list_cron_job_for_all_namespaces,
    }
    informers = {kind: SharedInformer(list_func=found) for kind, found in lists.items()}
    for informer in informers.values():
        informer.start()
    # The caches of the other three stay empty, and an empty one does not tell whether it was filled.
    awaited = [informers[kind] for kind in ("Node", "Pod", "Namespace", "ReplicaSet", "Deployment")]
    while not all(informer.cache.list_keys() for informer in awaited):
        time.sleep(0.02)
    print(json.dumps({kind: len(informer.cache.list_keys()) for kind, informer in informers.items()}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
