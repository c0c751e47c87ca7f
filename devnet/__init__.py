"""Seven real daemons on this machine: started, watched, disturbed, and spoken to over their sockets. Never imported by
the daemon, and no part of the wheel.

Read `play.py` first: the task from its creation to the payout. `cast.py` says who plays what, `state.py` and `homes.py`
what lies on the disk, `daemon.py` and `flock.py` hold the processes, `screen.py` and `tables.py` what a person sees,
`checks.py` what must be true at the end, `kill.py` what is done to the daemons.
"""
