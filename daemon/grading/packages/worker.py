"""The process that reads one package: `python -m daemon.grading.packages.worker REQUEST`, with inherited descriptors.

REQUEST is a JSON object: the descriptors `archive` (null: it is unpacked already) and `directory`, the pid `parent`,
`limits` (ArchiveLimits), `memory_bytes` and `cpu_s`. The answer on standard output is a JSON object with one key:
`problem` (a Problem), `refused` or `too_large` (a sentence), `failed` (a defect and its place); or with two, `errno`
and `host`: what the disk or the kernel said.
"""

import codecs
import dataclasses
import errno
import json
import os
import pathlib
import sys
import traceback
from typing import Any

from . import reader
from .archive import ArchiveLimits, unpack
from .confinement import confine
from .refusal import PackageRefused, PackageTooLarge

CODECS = ("cp437", "utf-8-sig")  # loaded before: the confined process opens no file of the host


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Unpacks and reads; the answer."""
    directory = request["directory"]
    limits = ArchiveLimits(**request["limits"])
    for codec in CODECS:
        codecs.lookup(codec)
    try:
        confine(directory, request["parent"], request["memory_bytes"], request["cpu_s"], limits.entry_bytes_max)
        if request["archive"] is not None:
            unpack(request["archive"], directory, limits)
        os.fchdir(directory)
        return {"problem": dataclasses.asdict(reader.read(pathlib.Path()))}
    except PackageTooLarge as error:
        return {"too_large": str(error)}
    except PackageRefused as error:
        return {"refused": str(error)}
    except (MemoryError, RecursionError):
        return {"refused": "the package needs more memory to be read than it may have"}
    except OSError as error:
        return {"errno": error.errno or errno.EIO, "host": error.strerror or str(error)}
    except Exception as error:  # a defect; its text may be the package's, so that only the place is told
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return {"failed": f"{type(error).__name__} at {pathlib.Path(frame.filename).name}:{frame.lineno}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
