"""Which programs the tests use, in which version, and how each is built from its Go module.

A *part* is one Go module beside this file (`go/<part>`) and gives one or more *tools*.
"""

from dataclasses import dataclass
from pathlib import Path

GO_MODULES = Path(__file__).parent / "go"
MINIMUM_GO = (1, 26)

KUBERNETES = "1.37.2"
_K8S_BUILD = "k8s.io/component-base/version"
_PROM_BUILD = "github.com/prometheus/common/version"
_HELM = "helm.sh/helm/v3"


@dataclass(frozen=True, slots=True)
class Tool:
    """`version_args` make it print its version; empty: it has no such option, so PATH is never trusted."""

    name: str
    version: str
    version_args: tuple[str, ...] = ("--version",)

    @property
    def variable(self) -> str:
        """The environment variable that names another binary to use."""
        return "SPOT_BALANCER_" + self.name.upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class Part:
    """One module, built by one `go build`.

    `packages` maps what is built to the file it becomes; `links` are further names of that file.
    """

    name: str
    tools: tuple[Tool, ...]
    packages: tuple[tuple[str, str], ...]
    links: tuple[str, ...] = ()
    tags: str = ""
    stamps: tuple[tuple[str, str], ...] = ()

    @property
    def module(self) -> Path:
        return GO_MODULES / self.name

    @property
    def flags(self) -> tuple[str, ...]:
        """Everything on the `go build` command line but the packages and the destination."""
        stamps = " ".join(f"-X {name}={value}" for name, value in self.stamps)
        tags = ("-tags", self.tags) if self.tags else ()
        return ("-trimpath", "-buildvcs=false", *tags, "-ldflags", f"-s -w {stamps}".strip())


CONTROL_PLANE = Part(
    name="controlplane",
    tools=(
        Tool("etcd", "3.7.0"),
        Tool("kube-apiserver", KUBERNETES),
        Tool("kube-scheduler", KUBERNETES),
        Tool("kube-controller-manager", KUBERNETES),
        Tool("kubectl", KUBERNETES, ("version", "--client")),
    ),
    packages=((".", "controlplane"),),
    links=("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl"),
    stamps=(
        (f"{_K8S_BUILD}.gitVersion", f"v{KUBERNETES}"),
        (f"{_K8S_BUILD}.gitMajor", "1"),
        (f"{_K8S_BUILD}.gitMinor", "37"),
        (f"{_K8S_BUILD}.gitTreeState", "clean"),
    ),
)
KWOK = Part(
    name="kwok",
    tools=(Tool("kwok", "0.7.0"),),
    packages=(("sigs.k8s.io/kwok/cmd/kwok", "kwok"),),
)
KUBE_STATE_METRICS = Part(
    name="kube-state-metrics",
    tools=(Tool("kube-state-metrics", "2.18.0", ("version",)),),
    packages=(("k8s.io/kube-state-metrics/v2", "kube-state-metrics"),),
    stamps=((f"{_PROM_BUILD}.Version", "v2.18.0"),),
)
PROMETHEUS = Part(
    name="prometheus",
    tools=(Tool("prometheus", "3.14.0"), Tool("promtool", "3.14.0")),
    packages=(
        ("github.com/prometheus/prometheus/cmd/prometheus", "prometheus"),
        ("github.com/prometheus/prometheus/cmd/promtool", "promtool"),
    ),
    # Without the service discovery plugins (static, file and HTTP discovery stay) two thirds of the build fall away.
    tags="netgo,remove_all_sd",
    stamps=((f"{_PROM_BUILD}.Version", "3.14.0"),),
)
HELM = Part(
    name="helm",
    tools=(Tool("helm", "3.22.0", ("version", "--short")),),
    packages=((f"{_HELM}/cmd/helm", "helm"),),
    # Unstamped, helm tells templates that the cluster is Kubernetes 1.20.
    stamps=(
        (f"{_HELM}/internal/version.version", "v3.22.0"),
        (f"{_HELM}/pkg/chartutil.k8sVersionMajor", "1"),
        (f"{_HELM}/pkg/chartutil.k8sVersionMinor", "37"),
        (f"{_HELM}/pkg/lint/rules.k8sVersionMajor", "1"),
        (f"{_HELM}/pkg/lint/rules.k8sVersionMinor", "37"),
    ),
)
HELM_UNITTEST = Part(
    name="helm-unittest",
    tools=(Tool("helm-unittest", "1.0.0", ()),),
    packages=(("github.com/helm-unittest/helm-unittest/cmd/helm-unittest", "helm-unittest"),),
)
GO_EXTENDER = Part(
    # The scheduler extender's real types: what Go makes of our answers, and a peer to be measured beside.
    name="extender",
    tools=(Tool("go-extender", "0.37.2", ()),),
    packages=((".", "go-extender"),),
)

PARTS = (CONTROL_PLANE, KWOK, KUBE_STATE_METRICS, PROMETHEUS, HELM, HELM_UNITTEST, GO_EXTENDER)
TOOLS = {tool.name: tool for part in PARTS for tool in part.tools}
PART_OF = {tool.name: part for part in PARTS for tool in part.tools}
