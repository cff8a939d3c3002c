"""Capacity plans: traffic and goals → the cheapest deployments that meet them.

    demand, goals, prices ──┐
    space ─► structures ────┴─► reach: what a replica carries within the goals ─► search ─► Plan
                                (serving.steady, for all limits of an engine at once)   │
                                                     simulated, cheapest first ◄────────┘

It holds no formula of time or memory: those are of `serving`, `latency` and `memory`.
"""
