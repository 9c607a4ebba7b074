"""`spot-balancer score`: the table behind one decision of the scheduler extender."""

import difflib
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from webhook.cli.common import (
    STRUCTURED,
    Access,
    cluster_options,
    config_option,
    find_key,
    given_snapshot,
    output_option,
    print_structured,
    printable,
    read_configuration,
    read_snapshot,
    rows,
    snapshot_option,
)
from webhook.cli.podfile import read_amounts
from webhook.core import candidates, scoreview
from webhook.core.candidates import Neutral
from webhook.core.census import PodFact
from webhook.core.expectation import Expectation, Source
from webhook.core.model import Resources, Value, Workload
from webhook.core.nodetable import TOP
from webhook.core.placement import DECISION, Reason
from webhook.core.pod import (
    Affinity,
    Metadata,
    NodeAffinity,
    NodeSelector,
    OwnerReference,
    Pod,
    PodSpec,
    SelectorRequirement,
    SelectorTerm,
)
from webhook.core.policy import BalancePolicy
from webhook.core.rehearsal import rehearse
from webhook.core.scoreview import NodeScore, ScoreView, Use
from webhook.core.scoring import LEAD, Candidate
from webhook.core.snapshot import Snapshot
from webhook.errors import InputError
from webhook.wire import pod_needs

HEADER = ("NODE", "CLASS", "SCORE", "ANSWER", "RISK", "CPU", "MEMORY", "IN FLIGHT", "POD", "BEYOND ITS PART", "LOAD")
WIDE = (*HEADER, "HABIT", "AGE", "SOURCE")
_MOST_ROWS = 40
"""More is nobody's page; the best come first."""
_FILES = (".yaml", ".yml", ".json")
_LEFT_ALONE = {
    Neutral.PAUSED: "`pause` holds scoring",
    Neutral.EXCLUDED_NAMESPACE: "its namespace is excluded",
    Neutral.DAEMONSET: "a DaemonSet's pod names its node",
    Neutral.STATIC: "a static pod belongs to its node",
    Neutral.OPTED_OUT: "its label says to skip it",
}


class Answer(Value, frozen=True, omit_defaults=False):
    """What `-o json` prints; shares are of allocatable, times those of the snapshot."""

    schema_version: int
    captured_at: datetime
    pod: str
    policy: BalancePolicy
    decision: ScoreView


class _Asking(Value, frozen=True):
    spec: pod_needs.PodSpec = pod_needs.PodSpec()


def _read_pod(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Of one of the forms, whether or not it is there."""
    parts = value.split("/")
    if not value.endswith(_FILES) and not (len(parts) in (2, 3) and all(parts)):
        told = (
            f"{printable(repr(value))} is neither NAMESPACE/POD, nor NAMESPACE/KIND/NAME as in "
            f"shop/Deployment/nginx-demo, nor a FILE that ends in {', '.join(_FILES[:-1])} or {_FILES[-1]}"
        )
        raise click.BadParameter(told, ctx=ctx, param=param)
    return value


@click.command(
    "score",
    epilog="Example: spot-balancer score shop/deployment/checkout --snapshot examples/demo.snapshot.json -o wide",
)
@click.argument("pod", metavar="NAMESPACE/POD|NAMESPACE/KIND/NAME|FILE", callback=_read_pod)
@click.option("--nodes", "only", help="Score these alone, by name with commas between. [default: all that take pods]")
@snapshot_option
@config_option
@cluster_options
@output_option()
def command(  # noqa: PLR0913, PLR0917 - one argument an option
    pod: str, only: str | None, snapshot_file: Path | None, config_file: Path | None, output: str, access: Access
) -> None:
    """Show how each node is scored for a pod, and which would win.

    The pod is one of the capture, the next of a workload, or a Pod in a YAML or JSON file. The scheduler asks about
    the nodes that passed its own filters; which those are is not known here, so give --nodes to compare as it did.

    With --config beside --snapshot its `balance` is tried on what was captured.
    """
    if snapshot_file and config_file:
        snapshot = scoreview.under(read_snapshot(snapshot_file), read_configuration(config_file).policy.balance)
        note = "only what it says of `balance` is tried, and of that neither `window` nor `habit`"
        click.echo(f"note: of {config_file} {note}: what was captured was measured over others", err=True)
    else:
        snapshot = given_snapshot(snapshot_file, access, config_file, with_census=True)
    candidate, has_uid = candidate_of(pod, snapshot)
    if isinstance(candidate, Neutral):
        click.echo(f"{printable(pod)} is not scored: {_LEFT_ALONE[candidate]}. All nodes are equal.")
        return
    found = scoreview.view(snapshot, candidate, chosen(only, snapshot), has_uid=has_uid)
    if output in STRUCTURED:
        meta = snapshot.meta
        balance = meta.policy.balance
        answer = Answer(schema_version=1, captured_at=meta.captured_at, pod=pod, policy=balance, decision=found)
        print_structured(answer, output)
        return
    click.echo("\n".join(as_text(printable(pod), found, snapshot, wide=output == "wide")))


def candidate_of(text: str, snapshot: Snapshot) -> tuple[Candidate | Neutral, bool]:
    """Whom to score for, and whether it has a UID to draw by. Raises InputError that says what was looked for and what would do."""
    if text.endswith(_FILES):
        pod, requests = from_file(Path(text))
    elif text.count("/") == 1:
        pod, requests = from_fact(pod_fact(text, snapshot))
    else:
        workload = snapshot.workloads[find_key(text, snapshot.workloads, where="this snapshot")]
        pod, requests = next_pod(workload, snapshot)
    return candidates.candidate(pod, requests, snapshot), bool(pod.metadata.uid)


def next_pod(workload: Workload, snapshot: Snapshot) -> tuple[Pod, Resources]:
    """As its controller would create it and the webhook change it; requests as its last pod's, where a census has one."""
    rehearsal = rehearse(workload, snapshot)
    raw = rehearsal.before if rehearsal.decision.reason is Reason.OBSERVE else rehearsal.after
    pods = snapshot.census.pods if snapshot.census else ()
    controllers = {(one.kind, one.name) for one in workload.controllers}
    mine = [
        one
        for one in pods
        if one.namespace == workload.key.namespace
        and one.controller
        and (one.controller.kind, one.controller.name) in controllers
    ]
    return msgspec.convert(raw, Pod), mine[-1].requests if mine else Resources()


def pod_fact(text: str, snapshot: Snapshot) -> PodFact:
    """The pod of a capture. Raises InputError."""
    if snapshot.census is None:
        raise InputError(
            f"no pod {printable(text)}: this snapshot holds no pods; "
            "name its workload as NAMESPACE/KIND/NAME, give a file, or capture with `spot-balancer snapshot`"
        )
    found = next((one for one in snapshot.census.pods if f"{one.namespace}/{one.name}" == text), None)
    if found is None:
        raise InputError(
            f"no pod {printable(text)} among the {len(snapshot.census.pods)} of this snapshot; "
            "name its workload as NAMESPACE/KIND/NAME, or give a file"
        )
    return found


def from_fact(fact: PodFact) -> tuple[Pod, Resources]:
    """The pod as far as scoring looks at it."""
    owner = fact.controller
    terms = [
        SelectorTerm(match_expressions=[SelectorRequirement(r.key, r.operator, list(r.values)) for r in term])
        for term in fact.needs.terms or ()
    ]
    required = NodeSelector(node_selector_terms=terms) if terms else None
    affinity = Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=required))
    metadata = Metadata(
        name=fact.name,
        namespace=fact.namespace,
        uid=fact.uid,
        labels=dict(fact.needs.labels),
        annotations={DECISION: fact.decision} if fact.decision else {},
        owner_references=[OwnerReference(owner.kind, owner.name, owner.uid, owner.api_version, controller=True)]
        if owner
        else [],
    )
    return Pod(metadata=metadata, spec=PodSpec(node_selector=dict(fact.needs.node_selector), affinity=affinity)), (
        fact.requests
    )


def from_file(file: Path) -> tuple[Pod, Resources]:
    """A Pod in YAML or JSON. Raises InputError."""
    try:
        raw: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(
            f"{printable(str(file))}: cannot be read ({getattr(exc, 'strerror', None) or 'not UTF-8'})"
        ) from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise InputError(f"{printable(str(file))}: neither YAML with one document nor JSON") from exc
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if kind != "Pod":
        told = f"a {printable(str(kind)[:40])}" if kind else "no object"
        raise InputError(f"{printable(str(file))}: holds {told}; give a Pod, or a workload as NAMESPACE/KIND/NAME")
    try:
        read_amounts(raw, str(file))
        pod = msgspec.convert(raw, Pod)
        requests = pod_needs.requests(msgspec.convert(raw, _Asking).spec)
    except (msgspec.ValidationError, ValueError) as exc:
        raise InputError(f"{printable(str(file))}: not shaped like a Pod: {printable(str(exc))}") from exc
    if not pod.metadata.namespace:
        raise InputError(f"{printable(str(file))}: without metadata.namespace; say there where the pod is to be")
    return pod, requests


def chosen(only: str | None, snapshot: Snapshot) -> list[str]:
    """The nodes asked for, each once, or all that take pods. Raises InputError."""
    if only is not None:
        names = list(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
        for name in names:
            if name not in snapshot.nodes:
                near = difflib.get_close_matches(name, snapshot.nodes, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                click.echo(printable(f"note: no node {name} in this snapshot{hint}"), err=True)
        if not names:
            raise click.BadParameter("names no node; give them as in --nodes regular-1,regular-2", param_hint="--nodes")
        return names
    names = [node.name for node in snapshot.nodes.values() if node.ready and node.schedulable]
    if not names:
        raise InputError("this snapshot holds no node that takes pods; `spot-balancer nodes` says why")
    return names


def as_text(pod: str, found: ScoreView, snapshot: Snapshot, *, wide: bool) -> list[str]:
    """The page that people read."""
    meta = snapshot.meta
    policy = meta.policy.balance
    table = [_cells(one, wide=wide) for one in found.nodes[:_MOST_ROWS]]
    more = len(found.nodes) - len(table)
    return [
        f"pod        {pod}, wants {found.wants} nodes",
        f"expected   {expected(found.expected)}",
        f"namespace  {printable(found.namespace) or 'not known'}, weight {found.weight:g}",
        f"as of      {meta.captured_at:%Y-%m-%d %H:%M:%S}Z; {_rules(policy)}",
        "",
        rows(WIDE if wide else HEADER, table),
        *([f"… and {more} more; --nodes names them"] if more else []),
        "",
        f"{printable(_sentence(found))}.",
        *([f"A scheduler is answered {TOP} for it, and {TOP - LEAD} at most for the others."] if found.likely else []),
        "Pairs are CPU/memory, in % of allocatable. The server also counts pods that it scored in the last minute;",
        "the scheduler weighs these points with those of its plugins.",
    ]


def _rules(policy: BalancePolicy) -> str:
    told = f"risk factor {policy.risk_factor:g}, fairness {policy.fairness:g}, noise {policy.noise:g}"
    if policy.filter_above is not None:
        told += f", filterAbove {policy.filter_above:g}"
    return told if policy.best is None else f"{told}, best {policy.best}"


def expected(found: Expectation) -> str:
    """``CPU 120m ± 60m (owner), memory 256 MiB ± 12 MiB (request)``."""
    own, mib = found.estimate, 1024.0**2
    cpu = f"CPU {_cores(own.cpu_cores)} ± {_cores(own.cpu_deviation_cores)} ({found.cpu_from})"
    memory = f"{own.memory_bytes / mib:.0f} MiB ± {own.memory_deviation_bytes / mib:.0f} MiB"
    return ", ".join(
        (
            "nothing known of its CPU" if found.cpu_from is Source.NONE else cpu,
            "nothing known of its memory"
            if found.memory_from is Source.NONE
            else f"memory {memory} ({found.memory_from})",
        )
    )


def _cores(value: float) -> str:
    if round(value * 1000) < 1000:
        return f"{value * 1000:.0f}m" if value >= 0.01 or not value else f"{value * 1000:.1g}m"
    told = f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{told} core{'' if told == '1' else 's'}"


def _sentence(found: ScoreView) -> str:
    """As `explain` continues one with it; the name of a node stays as it is."""
    begins_with_a_name = any(found.why.startswith(f"{one.name} ") for one in found.nodes)
    return found.why if begins_with_a_name else found.why[:1].upper() + found.why[1:]


def _cells(one: NodeScore, *, wide: bool) -> tuple[str, ...]:
    cells = (
        one.name,
        one.capacity_type or "-",
        str(one.score),
        str(one.answered),
        "-" if one.risk is None else f"{one.risk:.0%}",
        _swing(one.cpu),
        _swing(one.memory),
        _pair(one, "in_flight"),
        _pair(one, "expected"),
        _pair(one, "excess"),
        "too full" if one.filtered else one.freshness.value,
    )
    if not wide:
        return cells
    age = "-" if one.age_seconds is None else f"{max(0.0, one.age_seconds):.0f}s"
    habit = "-" if one.cpu is None or one.memory is None else f"{one.cpu.habit:+z.0%}/{one.memory.habit:+z.0%}"
    return (*cells, habit, age, one.source or "-")


def _swing(use: Use | None) -> str:
    return "-" if use is None else f"{use.mean:.0%} ± {use.deviation:.0%}"


def _pair(one: NodeScore, name: str) -> str:
    if one.cpu is None or one.memory is None:
        return "-"
    return f"{getattr(one.cpu, name):.0%}/{getattr(one.memory, name):.0%}"
