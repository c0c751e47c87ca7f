"""AI Arena on the ledger (white paper II.D, IV, V): tasks, members, epochs with their phases, and settlement.

`phases` is the way through: a table of what ends a phase and what follows. `tasks`, `submissions` and `scoring` hold
the transactions, `judging` and `settlement` the ranks and payouts.
"""
