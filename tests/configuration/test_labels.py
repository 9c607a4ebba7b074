"""Labels and taints of the file: what Kubernetes refuses in a pod is refused here, before it can be put into one."""

import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from tests import builders
from tests.configuration import names_oracle as oracle
from webhook.configuration import load
from webhook.core import labels, patch, placement
from webhook.core.model import Node
from webhook.core.policy import Policy
from webhook.errors import ConfigurationError

pytestmark = pytest.mark.fault(67)

LONG = "n" * 63
PREFIX = ".".join(["p" * 62] * 4) + "pp"
"""253 characters: the longest that there may be."""


def faults_of(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(text, source="config.yaml")
    return "\n".join(caught.value.faults)


def pool(marker: str, *taints: str) -> str:
    return yaml.safe_dump({"spotPools": [{"name": "cheap", "labels": marker, "taints": list(taints)}]})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (pool("pool=spot-"), "spotPools[0].labels: 'pool=spot-'; expected a label such as node-type=spot"),
        (pool("pool=spot-"), "a value has letters, digits, '-', '_' and '.', the first and last a letter or digit"),
        (pool("pool=spot-"), "did you mean spot?"),
        (pool("-pool"), "did you mean pool?"),
        (pool("a/b/c=x"), "before its slash a DNS name"),
        (pool("Example.com/pool=x"), "before its slash a DNS name"),
        (pool("/pool"), "before its slash a DNS name"),
        (pool(f"{PREFIX}p/pool"), "up to 253"),
        (pool("example.com/"), "the first and last a letter or digit"),
        (pool(f"{LONG}n=x"), "a name of up to 63 characters, not 64"),
        (pool(f"pool={LONG}n"), "up to 63 characters, not 64"),
        (pool("A B"), "the first and last a letter or digit"),
        (pool("pool=x=y"), "a value has letters"),
        (pool("pool=x\ny"), "a value has letters"),
        (pool("=x"), "a key has letters"),
        (pool("pool=ä"), "a value has letters"),
        (pool("pool=a,pool=b"), "each key once; pool stands twice"),
        (pool("pool=a,"), "a label such as node-type=spot, or a key alone"),
        (pool("pool", ":NoSchedule"), "spotPools[0].taints[0]: ':NoSchedule'; expected a taint such as"),
        (pool("pool", "=x:NoSchedule"), "a key has letters"),
        (pool("pool", "pool=x-:NoSchedule"), "a value has letters"),
        (pool("pool", "a/b/c:NoSchedule"), "before its slash a DNS name"),
        (pool("pool", "pool:NoExec"), "did you mean NoExecute?"),
        (pool("pool", "pool:"), "an effect is one of NoSchedule, NoExecute, PreferNoSchedule"),
        ("spotTaints: ['pool=x y:NoSchedule']", "spotTaints[0]"),
        ("spotTaints: [':']", "an effect is one of"),
        ("spotLabels: ['pool=.x']", "spotLabels[0]"),
        ("spotLabels: [7]", "expected labels such as"),
    ],
)
def test_what_kubernetes_refuses_is_told_with_what_it_expects(text, fault):
    assert fault in faults_of(text)


@pytest.mark.parametrize(
    "marker", ["p", "pool=", "pool=x", f"{PREFIX}/{LONG}={LONG}", "a.b-c.d/E_f.g=0", "1/2=3", "x=a__b..c--d"]
)
def test_what_kubernetes_accepts_is_read(marker):
    taints = (f"{marker}:NoSchedule", f"{marker}:NoExecute")
    policy = load(pool(marker, *taints), source="config.yaml").policy
    assert [one.key for one in policy.spot_pools[0].marker] == [marker.partition("=")[0]]
    assert {one.value for one in policy.spot_pools[0].taints} == {marker.partition("=")[2]}


WORDS = st.one_of(
    st.text("aZ0-_./ =:,~ä\n", max_size=12),
    st.text("ab0.-", min_size=60, max_size=66),
    st.from_regex(r"[a-z0-9.-]{0,3}/?[A-Za-z0-9._-]{0,4}", fullmatch=True),
    st.sampled_from([LONG, LONG + "n", f"{PREFIX}/x", f"{PREFIX}p/x", "", "x" * 400]),
)


@given(WORDS)
def test_keys_and_values_are_judged_as_the_api_server_judges_them(text):
    assert labels.is_key(text) is oracle.qualified_name(text)
    assert labels.is_value(text) is oracle.label_value(text)


def _marked(key: str, value: str | None) -> str:
    return key if value is None else f"{key}={value}"


# Mostly what is accepted or nearly so, or the law below would speak of refusals alone.
_NEAR = st.from_regex(r"([a-z]{1,2}\.x/)?[a-z0-9]([A-Za-z0-9._-]{0,2}[A-Za-z0-9])?", fullmatch=True)
_KEY = st.integers(0, 14).flatmap(lambda number: WORDS if number == 14 else _NEAR)
_VALUE = st.one_of(st.none(), st.just(""), _KEY.map(lambda text: text.rpartition("/")[2]))
_LABELS = st.builds(_marked, _KEY, _VALUE)
_TAINTS = st.builds(
    "{}:{}".format, _LABELS, st.sampled_from([*["NoSchedule"] * 5, "NoExecute", "PreferNoSchedule", ""])
)
_TAINT_LISTS = st.lists(_TAINTS, max_size=1)
_POOLS = st.builds(
    lambda marker, taints: [{"name": "cheap", "labels": ",".join(marker), "taints": taints}],
    st.lists(_LABELS, min_size=1, max_size=2),
    _TAINT_LISTS,
)
_FILES = st.fixed_dictionaries(
    {
        "mode": st.just("inject"),
        "placement": st.sampled_from(["preferred", "required"]),
        "spotPools": _POOLS,
    },
    optional={"spotLabels": st.lists(_LABELS, min_size=1, max_size=1), "spotTaints": _TAINT_LISTS},
)


def _nodes(policy: Policy) -> list[Node]:
    """A spot node of each marker that the file lists, behind all its taints."""
    return [
        builders.make_node(f"spot-{number}", marker, taints=policy.spot_taints)
        for number, marker in enumerate(policy.spot_labels)
    ]


@given(_FILES, st.sampled_from(["auto", "never"]))
def test_whatever_the_file_may_say_the_pod_passes_the_api_servers_own_rules(file, spot):
    try:
        policy = load(yaml.safe_dump(file), source="x").policy
    except ConfigurationError:
        event("refused")
        return
    workload = builders.make_workload(annotations={"spot-balancer.io/spot": spot})
    snapshot = builders.make_snapshot(workload, nodes=[builders.make_node("regular-1"), *_nodes(policy)], policy=policy)
    raw = builders.make_pod()
    decision = placement.decide(builders.make_request(raw), snapshot, now=builders.NOW)
    event(decision.reason)
    after = patch.check(raw, patch.build(raw, decision.changes)) if decision.changes else raw
    assert oracle.admits(after)
