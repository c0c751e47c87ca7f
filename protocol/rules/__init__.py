"""What transactions and closing phases do to the state.

Rules add, subtract and compare; all other arithmetic is in `protocol.formulas`.

Read `ledger.apply_block` first, then the rule that a transaction dispatches to.
"""
