"""ONE place for every equation: numbers in, numbers out; no state.

A function that is an equation of the white paper says `Formula A5` in its docstring; each tag has one function and a
known answer in `tests/vectors`. Mappings are keyed by account or tag and read in sorted order, so that the order they
were built in never matters.
"""
