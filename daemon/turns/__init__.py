"""Whose turn it is, fair among clients: line decides, seats waits."""
