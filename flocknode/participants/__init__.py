"""What this node's account does on the log: it reads its duties from the state and performs them.

`performer` is the loop; `creator`, `trainer` and `validator` hold one function per duty; `diary` keeps what a step
needs to be repeated, saved before the step is sent.
"""
