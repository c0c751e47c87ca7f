"""Markets on the ledger alone: thousands of accounts, the real rules, no daemons and no signatures.

Who gains by which conduct is a question about the rules; the scenarios here answer it with numbers.
"""
