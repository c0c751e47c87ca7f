"""Submissions and openings on their way out: through relays, so that nobody sees whose they are (anonymity.md).

`ticks`, `routes` and `parcels` are pure; `mix` is what a relay does, `last_hop` what the last of them does besides,
`courier` what the sender does. Streams and peers are in `flocknode.network.relay`.
"""
