"""The rules of flocknode: pure functions of their arguments, the same bytes on every machine.

No clock, no randomness, no files, no sockets, no logging, no floats. Whatever a rule needs comes in as an argument.
"""

DISTRIBUTION = "flocknode"
