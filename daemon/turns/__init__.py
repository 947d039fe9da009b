"""Whose turn it is, fair among clients, and when too many come: line and crowd decide, seats waits."""
