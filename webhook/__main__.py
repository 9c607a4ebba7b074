"""`python -m webhook`, `spot-balancer`, `kubectl spot-balancer`: all the same front door."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line and leave with its exit code: 0 fine, 2 usage, 3 any other trouble.

    Click adds 1, in silence, for a reader such as `head` that has gone away.
    """
    from webhook.cli.root import run  # noqa: PLC0415 - so that importing this module does nothing

    name = Path(sys.argv[0]).name
    sys.exit(run(sys.argv[1:], program="kubectl spot-balancer" if name.startswith("kubectl-") else "spot-balancer"))


if __name__ == "__main__":
    main()
