"""Problem packages: what an uploaded zip holds, and where it is kept.

A package is hostile until it has been read. The HTTP process never parses it: it hands a descriptor of the zip and one
of an empty directory to a worker (worker.py), a process that lives for one package, has no privilege, little memory,
little CPU time and a deadline (confinement.py). The worker unpacks (archive.py), reads the YAML (yaml_text.py) and the
folders (tree.py, metadata.py, testdata.py, submissions.py) and answers with one JSON text, which the caller
(reading.py) checks against the dataclasses of problem.py. A package that breaks a rule is refused whole, in one
sentence; what is merely odd is a warning.

store.py keeps packages below the state directory, by the hash of their zip. Nothing in a package is ever run here.

Sources: the Kattis problem package format, https://www.kattis.com/problem-package-format/spec, in the versions legacy,
legacy-icpc and 2025-09 (the name under which 2023-07 was finished), and DOMjudge's appendix on the problem format.
"""
