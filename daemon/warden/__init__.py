"""Runs INSIDE nsjail as pid 1 of the outer wall. Standard library only; imports nothing of the rest of cellblock."""
