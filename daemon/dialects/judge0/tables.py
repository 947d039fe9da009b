"""The tables of the store, and its longer statements. SQLite 3.40 (Debian 12) is the oldest that they are for.

A row goes from IN_QUEUE (1) to PROCESSING (2) to what it ended as, and then never changes but for `told` (somebody has
been given its end) and `callback` (how often its URL is still to be tried). `holder` is the process that works on it,
until `leased_until`; all times are seconds of the time of day, which processes share.
"""

VERSION = 1
TOTAL = ""  # in place of a client, in `holding`: of all together

SCHEMA = f"""
CREATE TABLE submission (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  token TEXT NOT NULL UNIQUE,
  client TEXT NOT NULL,
  status INTEGER NOT NULL,
  told INTEGER NOT NULL DEFAULT 0,
  created REAL NOT NULL,
  expires REAL NOT NULL,
  finished REAL,
  toolchain TEXT NOT NULL,
  language_id INTEGER NOT NULL,
  source BLOB NOT NULL,
  stdin BLOB,
  expected BLOB,
  archive BLOB,
  options TEXT NOT NULL,
  stdout BLOB,
  stderr BLOB,
  compile_output BLOB,
  facts TEXT,
  bytes INTEGER NOT NULL,
  holder TEXT,
  leased_until REAL,
  not_before REAL NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0,
  callback INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX unfinished ON submission (client, number, status, not_before, leased_until) WHERE status <= 2;
CREATE INDEX untold ON submission (client, number, not_before, leased_until) WHERE callback > 0;
CREATE INDEX giving_way ON submission (client, number) WHERE told = 1;
CREATE INDEX own ON submission (client, number);
CREATE INDEX ending ON submission (expires);
CREATE TABLE holding (client TEXT PRIMARY KEY, rows INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER comes AFTER INSERT ON submission BEGIN
  INSERT INTO holding VALUES (new.client, 1, new.bytes), ('{TOTAL}', 1, new.bytes)
    ON CONFLICT (client) DO UPDATE SET rows = rows + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER changes AFTER UPDATE OF bytes ON submission BEGIN
  UPDATE holding SET bytes = bytes + new.bytes - old.bytes WHERE client IN (new.client, '{TOTAL}');
END;
CREATE TRIGGER goes AFTER DELETE ON submission BEGIN
  UPDATE holding SET rows = rows - 1, bytes = bytes - old.bytes WHERE client IN (old.client, '{TOTAL}');
  DELETE FROM holding WHERE client = old.client AND rows = 0;
END;
PRAGMA user_version = {VERSION};
"""

INSERT = """
INSERT INTO submission (token, client, status, told, created, expires, finished, toolchain, language_id, source, stdin,
  expected, archive, options, stdout, stderr, compile_output, facts, bytes, callback)
VALUES (:token, :client, :status, :told, :created, :expires, :finished, :toolchain, :language_id, :source, :stdin,
  :expected, :archive, :options, :stdout, :stderr, :compile_output, :facts, :bytes, :callback)"""

INSERT_NEW = f"{INSERT} ON CONFLICT (token) DO NOTHING"

# A lease beyond what anybody gives is of a clock that went back since, and has run out too.
FREE = "(leased_until IS NULL OR leased_until < :now OR leased_until > :beyond)"

# The next row of the client that has the fewest under way, of several such clients the one that waits longest.
_NEXT = """
SELECT waits.number FROM
  (SELECT client, min(number) AS number FROM submission
    WHERE {which} AND not_before <= :now AND {free} GROUP BY client) AS waits
  LEFT JOIN (SELECT client, count(*) AS busy FROM submission
    WHERE {which} AND NOT {free} GROUP BY client) AS works USING (client)
WHERE coalesce(works.busy, 0) < :most_of_one
ORDER BY coalesce(works.busy, 0), waits.number LIMIT 1"""

# How many each process holds; those that nobody does have no holder.
HELD = f"""
SELECT CASE WHEN status = 1 OR {FREE} THEN NULL ELSE holder END AS held_by, count(*) AS held FROM submission
WHERE status <= 2 GROUP BY held_by"""

TAKE = f"""
UPDATE submission SET status = 2, tries = tries + 1, holder = :holder, leased_until = :until
WHERE number = ({_NEXT.format(which="status <= 2", free=FREE)})
RETURNING number, token, client, tries, toolchain, language_id, source, stdin, expected, archive, options"""

TAKE_CALLBACK = f"""
UPDATE submission SET callback = callback - 1, holder = :holder, leased_until = :until
WHERE number = ({_NEXT.format(which="callback > 0 AND status > 2", free=FREE)})
RETURNING token"""

FINISH = """
UPDATE submission SET status = :status, finished = :finished, stdout = :stdout, stderr = :stderr,
  compile_output = :compile_output, facts = :facts, bytes = :bytes, callback = :callback,
  holder = NULL, leased_until = NULL, not_before = 0
WHERE number = :number AND holder = :holder AND status = 2"""

GIVE_BACK = """
UPDATE submission SET status = 1, tries = tries - :uncounted, holder = NULL, leased_until = NULL,
  not_before = :not_before
WHERE number = :number AND holder = :holder AND status = 2"""

GIVE_ALL_BACK = """
UPDATE submission SET status = min(status, 1 + (status > 2) * 99), tries = tries - (status = 2),
  callback = callback + (status > 2), holder = NULL, leased_until = NULL
WHERE holder = :holder"""

# What nobody has been told stays; of the rest the oldest gives way first.
GIVE_WAY = """
DELETE FROM submission WHERE number IN
  (SELECT number FROM submission WHERE told = 1 AND client = ? AND callback = 0 AND holder IS NULL
    ORDER BY number LIMIT 64)"""

# Whoever has most, of those who have something that may give way.
GREATEST = f"""
SELECT client, bytes FROM holding WHERE client <> '{TOTAL}' AND EXISTS
  (SELECT 1 FROM submission WHERE told = 1 AND client = holding.client AND callback = 0 AND holder IS NULL)
ORDER BY bytes DESC LIMIT 1"""

EXPIRE = "DELETE FROM submission WHERE number IN (SELECT number FROM submission WHERE expires < ? LIMIT 500)"
OUTPUT = ("stdout", "stderr", "compile_output")
BLOBS = ("source", "stdin", "expected", "archive", *OUTPUT)
SMALL = ("token", "status", "told", "toolchain", "language_id", "options", "facts", "created", "finished")
