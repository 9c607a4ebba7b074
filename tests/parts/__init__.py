"""The real parts that tests run against: a control plane, a Prometheus, and what feeds them.

`fetch` has the programs, `plane` and `prometheus` start them, `usage_exporter` stands in for
the kubelet's cAdvisor, `fixtures` hands them to tests.
"""
