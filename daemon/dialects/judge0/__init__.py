"""Judge0 CE 1.13 (https://github.com/judge0/judge0): docs/dialects-judge0.md says what differs.

models.py    the bodies              wanted.py    a body -> a Job, with Judge0's rules and its words for what is wrong
languages.py ids of languages        archive.py   the zip of `additional_files`
outcome.py   Report -> Outcome       shown.py     what is stored -> the fields of an answer
store.py     tokens, in SQLite       tables.py    its tables and statements
database.py  what is done with them  journal.py   answers on their way there
opening.py   the file at the start   connection.py  and whether it can be used later
work.py      runs what waits         callbacks.py tells the URLs that were asked for
facts.py     what the server says of itself       api.py       the endpoints
"""
