"""Honest timings of real daemons on this machine: `python -m devnet bench NAME`.

Figures depend on the machine and on what else it does; where a goal is a ratio, both sides are measured in one run.
"""
