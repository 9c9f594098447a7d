"""The deciding half of Perdure: pure state machines, without I/O, clock, chance or threads.

`decide(state, command, now_ms)` returns what happened; `apply(state, record)` folds it in.
Everything else in Perdure exists to feed one and to store the other.
"""
