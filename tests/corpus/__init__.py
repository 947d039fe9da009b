"""Ordinary programs of other people's, on the bare host and through the API: what differs is ours to explain."""
