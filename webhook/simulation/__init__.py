"""A cluster that exists in memory only, and what the monitor and the mover would do to it over days.

What decides here is what decides in a cluster: sides, plans, steps of moves, budgets and placement are
called and not imitated. Imitated is what they act on: nodes, pods, their controllers, the scheduler,
the API server, and the load.
"""
