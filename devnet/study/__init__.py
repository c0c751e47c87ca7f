"""Studies: what the rules of FL Alliance are worth against poisoners, with real training and the ledger's equations.

Daemons take no part. Learning happens in learning workers, money in `bank`, by `protocol.formulas.alliance`.
"""
