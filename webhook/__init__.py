"""spot-balancer: idle pods to spot nodes and back; even, real load on the regular ones."""

__version__ = "0.1.0"
