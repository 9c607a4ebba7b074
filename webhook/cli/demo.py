"""`spot-balancer demo`: three owners, and a burst of pods, through the real server, without a cluster."""

import http.client
import importlib.util
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from webhook.adapters.certificates import PairFiles, make_pair
from webhook.cli import burst, render
from webhook.cli.common import clock, is_colourful, read_snapshot, rows
from webhook.core import patch
from webhook.core.model import Evidence, Workload
from webhook.core.rehearsal import rehearse, sample_pod
from webhook.core.snapshot import Snapshot
from webhook.core.words import MEANING
from webhook.errors import InputError, SpotBalancerError
from webhook.wire.snapshot import encode_document

SNAPSHOT = Path("examples/demo.snapshot.json")
PATIENCE_SECONDS = 20.0


@click.command("demo", epilog="Example: spot-balancer demo --color never")
@click.option(
    "--snapshot", "file", type=click.Path(path_type=Path), default=SNAPSHOT, show_default=True, help="A captured file."
)
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
def command(file: Path, color: str) -> None:
    """Start the real TLS server on loopback, send it real AdmissionReviews and a scheduler's questions, show what happens."""
    if not file.exists():
        raise InputError(f"{file} is not there; run this from a checkout, or give --snapshot FILE")
    snapshot, page = read_snapshot(file), Page(colour=is_colourful(color))
    page.opening(file, snapshot)
    page.owners(snapshot)
    began = time.monotonic()
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="spot-balancer-demo-") as folder:
        made_up = Path(folder) / "burst.json"
        pair = make_pair(Path(folder), ["127.0.0.1"], now=clock())
        with server(file, pair, Path(folder)) as port:
            page.say(f"The server answers on https://127.0.0.1:{port}/mutate, its certificate verified.\n")
            for workload in chosen(snapshot):
                page.answer(workload, snapshot, post(port, pair, sample_pod(workload)))
        made_up.write_bytes(encode_document(burst.snapshot(clock())))
        with server(made_up, pair, Path(folder), "--extender") as port, closing(_connection(port, pair)) as connection:
            page.burst_twice(burst.place(None), burst.place(asking(connection)))
    page.say(f"Servers started, asked and stopped in {time.monotonic() - began:.1f} s.\n")
    page.closing(file, snapshot)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A terminal that closes, or `kill`, must not leave a server and a key behind."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    ending = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def chosen(snapshot: Snapshot) -> list[Workload]:
    """One idle, one active and one unknown owner, in this order, as far as there are."""
    judged = [w for w in snapshot.workloads.values() if w.verdict is not None]
    of = {e: [w for w in judged if w.verdict and w.verdict.evidence is e] for e in Evidence}
    return [of[e][0] for e in (Evidence.IDLE, Evidence.ACTIVE, Evidence.UNKNOWN) if of[e]]


@contextmanager
def server(file: Path, pair: PairFiles, folder: Path, *options: str) -> Iterator[int]:
    """The real server process on a free loopback port; ended in any case."""
    line = [sys.executable, "-m", "webhook", "serve", "--snapshot", str(file), "--bind", "127.0.0.1:0", *options]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*line, "--tls-dir", str(pair.certificate.parent)], stdout=out, stderr=out, env=dict(os.environ)
        )
    try:
        yield _ready_port(process, log, pair)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready_port(process: subprocess.Popen[bytes], log: Path, pair: PairFiles) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        port = _listening_port(log)
        if port and _is_ready(port, pair):
            return port
        time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise SpotBalancerError(f"the server did not become ready; the end of its log:\n{tail}")


def _listening_port(log: Path) -> int | None:
    for line in log.read_text(errors="replace").splitlines(keepends=True):
        # The last line may still be half written.
        entry = json.loads(line) if line.startswith("{") and line.endswith("\n") else {}
        if entry.get("message") == "listening":
            return int(entry["port"])
    return None


def _connection(port: int, pair: PairFiles) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(pair.ca_file))
    return http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)


def _is_ready(port: int, pair: PairFiles) -> bool:
    try:
        with closing(_connection(port, pair)) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
    except OSError:
        return False


def post(port: int, pair: PairFiles, pod: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The response to the pod's creation, and the milliseconds it took on a connection that was open already."""
    body = json.dumps(review(pod)).encode()
    with closing(_connection(port, pair)) as connection:
        connection.connect()
        for _ in range(20):  # the first few warm caches that a running server has warm
            began = time.perf_counter()
            connection.request("POST", "/mutate?timeout=2s", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            took = (time.perf_counter() - began) * 1000
    response: dict[str, Any] = answer["response"]
    return response, took


def asking(connection: http.client.HTTPSConnection) -> burst.Ask:
    """What a scheduler's extender would be asked, on one connection."""

    def ask(pod: dict[str, object], names: Sequence[str]) -> dict[str, int]:
        body = json.dumps({"Pod": pod, "Nodes": None, "NodeNames": list(names)}).encode()
        connection.request("POST", "/extender/prioritize", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SpotBalancerError(f"the server answered {answer.status} to /extender/prioritize")
        return {entry["Host"]: entry["Score"] for entry in json.loads(answer.read())}

    return ask


def review(pod: dict[str, Any]) -> dict[str, Any]:
    """As the API server sends it for a ReplicaSet controller's create."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "namespace": pod["metadata"]["namespace"],
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod,
        "oldObject": None,
        "dryRun": False,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


class Page:
    """Prints the demonstration: plain text, or rich's tables where it is installed and colour is wanted."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def say(self, text: str = "", *, bold: bool = False) -> None:
        """One paragraph."""
        click.echo(click.style(text, bold=True) if bold and self._colour else text, color=self._colour)

    def opening(self, file: Path, snapshot: Snapshot) -> None:
        """What is shown, and as of when."""
        meta = snapshot.meta
        spot = sum(bool(node.marker) for node in snapshot.nodes.values())
        self.say("spot-balancer: idle pods to spot nodes, busy ones left alone", bold=True)
        self.say(
            f'{file}: captured {meta.captured_at:%Y-%m-%d %H:%M:%S}Z, which is "now" for all that follows;\n'
            f"{len(snapshot.nodes)} nodes ({spot} spot), {len(snapshot.workloads)} workloads, mode {meta.policy.mode}.\n"
        )

    def owners(self, snapshot: Snapshot) -> None:
        """Each owner's evidence and side, with the reason."""
        header = ("OWNER", "EVIDENCE", "SIDE", "WHY")
        judged = [(w, w.verdict) for w in snapshot.workloads.values() if w.verdict is not None]
        lines = [(str(w.key), v.evidence.value, v.side.value, v.reason) for w, v in judged]
        self._table(header, lines)
        self.say()

    def answer(self, workload: Workload, snapshot: Snapshot, answered: tuple[dict[str, Any], float]) -> None:
        """What the server did with the owner's next pod."""
        response, took = answered
        reason = rehearse(workload, snapshot).decision.reason
        before = sample_pod(workload)
        evidence = workload.verdict.evidence if workload.verdict else Evidence.UNKNOWN
        self.say(f"{workload.key} ({evidence}): the next pod {MEANING[reason]}", bold=True)
        if evidence is Evidence.UNKNOWN:
            self.say("  unknown is never idle: without whole evidence nothing is changed")
        verb = "admitted" if response["allowed"] else "REJECTED"
        if "patch" not in response:
            self.say(f"  {verb} in {took:.2f} ms, without a patch: byte for byte as its owner wrote it\n")
            return
        operations = json.loads(b64decode(response["patch"]))
        self.say(f"  {verb} in {took:.2f} ms, with {len(operations)} addition(s):")
        lines = render.pod_diff(before, patch.check(before, operations))
        for line in render.painted(lines, colour=self._colour):
            self.say(f"    {line}")
        self.say()

    def burst_twice(self, without: Sequence[burst.Placed], beside: Sequence[burst.Placed]) -> None:
        """The same burst twice, as two charts."""
        self.say("The scheduler extender: new pods go where the load is low, not where the requests are", bold=True)
        self.say(
            f"Six made-up nodes on which requests mislead: node-a works most and has requested least. {burst.PODS} pods come\n"
            f"at once, each requests {burst.REQUEST.cpu_cores * 1000:.0f}m CPU and uses {burst.USE.cpu_cores * 1000:.0f}m, as its "
            "siblings do. Free requests (the scheduler's least-allocated,\nimitated here, its other plugins are not) decide:\n"
        )
        self._chart(without)
        self.say(
            f"\nThe same with the server's answers to POST /extender/prioritize, weight {burst.WEIGHT}. Nothing is measured anew\n"
            "meanwhile, nor told where a pod went: the server counts each on its likely node.\n"
        )
        self._chart(beside)
        self._bars(["\n  █ measured before   ▒ used by the burst   of CPU; spot-balancer moves nothing that runs\n"])

    def _chart(self, placed: Sequence[burst.Placed]) -> None:
        self._bars(f"  {line}" for line in (*burst.chart(placed), burst.summary(placed)))

    def _bars(self, lines: Iterable[str]) -> None:
        """As they are, or by # + . where the terminal's encoding has no blocks."""
        for line in lines:
            try:
                line.encode(sys.stdout.encoding or "utf-8")
                self.say(line)
            except UnicodeEncodeError:
                self.say(line.translate(str.maketrans("█▒·", "#+.")))

    def closing(self, file: Path, snapshot: Snapshot) -> None:
        """Commands that work on this very file."""
        names = [str(workload.key) for workload in chosen(snapshot)] or ["NAMESPACE/KIND/NAME"]
        program = ".venv/bin/spot-balancer"
        self.say("Try next:", bold=True)
        self.say(f"  {program} explain {names[0]} --snapshot {file}")
        self.say(f"  {program} explain {names[-1]} --snapshot {file} -o wide")
        if snapshot.census is not None:
            self.say(f"  {program} plan --snapshot {file}")
        # The active one, whose regular nodes load tells apart.
        self.say(f"  {program} score {names[len(names) // 2]} --snapshot {file}")
        self.say(f"  {program} serve --snapshot {file} --bind 127.0.0.1:8443")

    def _table(self, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        if self._colour and importlib.util.find_spec("rich"):
            _rich_table(header, lines)
        else:
            self.say(rows(header, lines))


def _rich_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*header, header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    colours = {"idle": "green", "active": "yellow", "unknown": "dim", "spot": "magenta"}
    for line in lines:
        table.add_row(*(Text(cell, style=colours.get(cell, "")) for cell in line))
    Console(force_terminal=True).print(table)
