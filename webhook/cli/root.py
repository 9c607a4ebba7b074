"""The command group: commands are loaded when they are called, so that `version` stays quick."""

import importlib
from collections.abc import Sequence

import click

from webhook.cli.common import TROUBLE, USAGE
from webhook.errors import ClusterForbidden, ConfigurationError, SpotBalancerError, WrongInputError

COMMANDS = {
    "certs": "throw-away certificates for trying things out",
    "config": "check a configuration file, or print what holds with it",
    "demo": "one idle, one busy and one unknown owner, and a burst of pods, through the real server",
    "explain": "why a workload is where it is, and what its next pod would get",
    "history": "moves that ended, the newest first, and what came of each",
    "monitor": "one run: evidence, side, verdict book, moves",
    "nodes": "the class of every node, how it was recognised, and what is wrong",
    "pause": "begin no move any more; those in flight are finished or undone",
    "plan": "who would move where, who would not, and why",
    "resume": "let moves go on, accept an alarm, or try a workload again",
    "scheduler-config": "what makes a kube-scheduler ask our extender, ready to be used",
    "score": "how each node is scored for a pod, and which would win",
    "serve": "the admission webhook, over TLS",
    "simulate": "days of a load in memory: moves, hours on spot, promises kept, beside other rules; `balance`: even load",
    "snapshot": "capture the cluster as decisions see it, to a file",
    "status": "where moving stands: sides, shares, moves in flight, budget, and what holds them up",
    "sync": "watch a cluster and keep the server's snapshot",
    "version": "versions of spot-balancer and of what it runs on",
}


class Lazy(click.Group):
    """Lists commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of that name; its attribute ``command`` is the command."""
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(f"webhook.cli.{cmd_name.replace('-', '_')}").command
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: spot-balancer explain shop/deployment/nginx-demo --snapshot examples/demo.snapshot.json",
)
def cli() -> None:
    """Idle pods to spot nodes and back, decided on evidence, explained on request."""


def run(arguments: Sequence[str], *, program: str = "spot-balancer") -> int:
    """Run one command; every trouble of ours is a sentence on stderr, never a traceback. Returns the exit code."""
    try:
        code = cli.main(args=list(arguments), prog_name=program, standalone_mode=False)
    except click.ClickException as fault:
        fault.show()
        return USAGE
    except (click.exceptions.Abort, OSError, SpotBalancerError) as trouble:
        code = _told(trouble)
    return code if isinstance(code, int) else 0


def _told(trouble: Exception) -> int:
    match trouble:
        case click.exceptions.Abort():
            click.echo("interrupted", err=True)
            return 130
        case ConfigurationError():
            click.echo(str(trouble), err=True)
            return USAGE
        case WrongInputError():
            click.echo(f"error: {trouble}", err=True)
            return USAGE
        case ClusterForbidden(status=401):
            click.echo(
                f"error: {trouble}\nThe credentials are wrong or expired: log in anew, or use another --context.",
                err=True,
            )
        case ClusterForbidden():
            click.echo(f"error: {trouble}\nAsk for the right, or use another --context.", err=True)
        case _:
            click.echo(f"error: {trouble}", err=True)
    return TROUBLE
