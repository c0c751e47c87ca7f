"""FL Alliance on the ledger (white paper VI): rounds of private training, votes, rewards and slashes.

`records` are the state; `members` joins and leaves; `rounds` is the table of phases; `closing` settles a round.
"""
