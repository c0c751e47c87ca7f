"""Consensus: Algorithm 1 of "The latest gossip on BFT consensus" (arXiv 1807.04938) as pure functions and values.

Knows replicas and hashes, nothing of tokens, networks or clocks. Read `core` first.
"""
