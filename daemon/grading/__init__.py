"""Grading: verdicts, comparison of outputs and scores of test groups.

The pure modules decide and know no clock, no descriptor and no task: verdicts.py, compare.py, tokens.py, scoring.py,
legacy_scoring.py, group_scoring.py. Whatever runs a program stands apart and asks them.
"""
