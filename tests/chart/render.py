"""Renders the chart with the real helm, once per set of values."""

import copy
import functools
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.parts.fetch import find, why_missing
from tests.parts.pins import KUBERNETES

CHART = Path(__file__).parents[2] / "charts" / "spot-balancer"
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE, NAMESPACE = "spot-balancer", "steering"


def program(name):
    """The path of a real tool that is there already; skips the test where it is not."""
    found = find(name)
    if found is None:
        pytest.skip(why_missing(name) or f"{name} is not built yet: run `make parts`")
    return str(found.path)


def render(values=None, *, values_file=None):
    """Every rendered object, as parsed YAML. `values` are laid over the chart's own."""
    return copy.deepcopy(_documents(json.dumps(values or {}, sort_keys=True), values_file))


@functools.cache
def _documents(values, values_file):
    return [one for one in yaml.safe_load_all(render_text(values, values_file=values_file)) if one]


def render_text(values="{}", *, values_file=None):
    files = ["--values", str(values_file)] if values_file else []
    line = [program("helm"), "template", RELEASE, str(CHART), "--namespace", NAMESPACE]
    line += ["--kube-version", KUBERNETES, *files, "--values", "-"]
    done = subprocess.run(line, input=values, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def one(objects, kind, name=None):
    """The only object of that kind, and of that name where one is given."""
    hits = [o for o in objects if o["kind"] == kind and name in {None, o["metadata"]["name"]}]
    assert len(hits) == 1, f"{len(hits)} of {kind} {name or ''}"
    return hits[0]


def pod_templates(objects):
    """The pod templates, by component."""
    found = {}
    for made in objects:
        if made["kind"] in {"Deployment", "CronJob"}:
            spec = made["spec"] if made["kind"] == "Deployment" else made["spec"]["jobTemplate"]["spec"]
            found[made["metadata"]["labels"]["app.kubernetes.io/component"]] = spec["template"]
    return found


def pod_specs(objects):
    """The pod templates' specs, by component."""
    return {component: template["spec"] for component, template in pod_templates(objects).items()}


def containers(objects):
    """Every container of the chart, by name."""
    return {c["name"]: c for spec in pod_specs(objects).values() for c in spec["containers"]}
