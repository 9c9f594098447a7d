"""Admission: whether a call may run now, and how much memory it may use."""
