"""Where a run was made: enough to judge a figure, nothing that names the machine."""

import os
import platform
from importlib import metadata
from pathlib import Path

import webhook
from tests.parts.pins import TOOLS


def describe():
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memoryGibibytes": round(int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions():
    packages = ("flask", "gunicorn", "kubernetes", "msgspec", "numpy", "urllib3", "uvloop")
    return {
        "spot-balancer": webhook.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        **{name: tool.version for name, tool in TOOLS.items()},
    }


def _first(file, key):
    path = Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
