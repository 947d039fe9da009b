"""Grading: a submission on its tests, with verdicts, comparison of outputs and scores of test groups.

The pure modules decide and know no clock, no descriptor and no task: verdicts.py, run_facts.py, compare.py,
tokens.py, scoring.py, legacy_scoring.py, group_scoring.py. Whatever runs a program stands apart and asks them:
grader.py the tests of a task, checking.py their checkers, interaction.py two programs that talk, group_grader.py a
package's own grader; problems.py makes tasks of packages.
"""
