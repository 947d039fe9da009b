"""APIs of other servers, so that their clients need only another URL: docs/dialects.md says what differs.

Each dialect is a folder here: models.py has its bodies and answers, api.py its endpoints (`Api`, a dialect.Dialect),
and what turns the one into a Submission and a Report into the other is pure. `Runs` runs it as for POST /execute.
Nothing of a dialect is known outside of its folder, and one that is not switched on is not imported.
"""
