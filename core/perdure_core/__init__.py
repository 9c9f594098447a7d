"""The rules of Perdure: pure state machines, without I/O, clocks, randomness or threads.

`decide(state, command, now_ms)` returns what happened; `apply(state, record)` folds it in.
Everything else in Perdure feeds the one and stores what the other folds.
"""
