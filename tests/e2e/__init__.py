"""The whole of it on real parts: control plane, Prometheus, and our own processes as users start them."""
