"""How to ask a server for one run, in the words of several servers, and what it printed."""

import abc
import json
from typing import Any

from daemon.sandbox.errors import OurFault
from daemon.toolchain.schema import StepEntry, Toolchain

from .connection import Connection

GO_JUDGE_LIMIT_NS = 60 * 10**9
GO_JUDGE_MEMORY_BYTES = 2 << 30
GO_JUDGE_ENVIRONMENT = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/w"]


class WrongAnswer(OurFault):
    """The server did not run the program as it should; the text is its answer."""


class Dialect(abc.ABC):
    """One keep-alive connection; not for two threads."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(self, method: str, path: str, fields: Any = None) -> Any:
        """The decoded body of a 2xx. Raises WrongAnswer, OSError."""
        status, data = self._connection.request(method, path, fields)
        if status >= 300:
            raise WrongAnswer(f"{status}: {data[:500].decode('utf-8', 'replace')}")
        return json.loads(data)

    @abc.abstractmethod
    def run(self, toolchain: Toolchain, code: str) -> str:
        """What the program printed. Raises WrongAnswer."""

    def again(self, toolchain: Toolchain, code: str) -> str:
        """What a program printed that may be compiled once and then kept, in the cheapest way that the server has.

        Raises as `run`.
        """
        return self.run(toolchain, code)


class Cellblock(Dialect):
    """POST /execute of cellblock itself."""

    def run(self, toolchain: Toolchain, code: str) -> str:
        """Raises as Dialect.run."""
        answer = self.request("POST", "/execute", {"language": toolchain.id, "code": code})
        if not answer["success"]:
            raise WrongAnswer(str(answer))
        return str(answer["output"])


class Piston(Dialect):
    """API v2; https://github.com/engineer-man/piston."""

    def run(self, toolchain: Toolchain, code: str) -> str:
        """Raises as Dialect.run."""
        files = [{"name": toolchain.source, "content": code}]
        answer = self.request(
            "POST", "/api/v2/execute", {"language": toolchain.id, "version": "*", "files": files, "stdin": ""}
        )
        if answer.get("run", {}).get("code") != 0:
            raise WrongAnswer(str(answer))
        return str(answer["run"]["stdout"])


class Judge0(Dialect):
    """With wait=true; language ids differ between deployments and are looked up by title."""

    _ids: dict[str, int]

    def run(self, toolchain: Toolchain, code: str) -> str:
        """Raises as Dialect.run."""
        if not hasattr(self, "_ids"):
            self._ids = {
                entry["name"].split(" ")[0].lower(): entry["id"] for entry in self.request("GET", "/languages")
            }
        answer = self.request(
            "POST",
            "/submissions?base64_encoded=false&wait=true",
            {"source_code": code, "language_id": self._ids[toolchain.title.lower()]},
        )
        if answer.get("status", {}).get("id") != 3:  # Accepted
            raise WrongAnswer(str(answer))
        return str(answer["stdout"])


class Jobe(Dialect):
    """POST runs; https://github.com/trampgeek/jobe. Names of languages: those that it lists, or the toolchain's own."""

    _names: set[str]

    def run(self, toolchain: Toolchain, code: str) -> str:
        """Raises as Dialect.run."""
        root = "/jobe/index.php/restapi"
        if not hasattr(self, "_names"):
            self._names = {str(name) for name, _ in self.request("GET", f"{root}/languages")}
        name = next((name for name in toolchain.names if name in self._names), toolchain.id)
        answer = self.request("POST", f"{root}/runs", {"run_spec": {"language_id": name, "sourcecode": code}})
        if answer["outcome"] != 15:  # success
            raise WrongAnswer(str(answer))
        return str(answer["stdout"])


class SandboxFusion(Dialect):
    """POST /run_code; https://github.com/bytedance/SandboxFusion."""

    def run(self, toolchain: Toolchain, code: str) -> str:
        """Raises as Dialect.run."""
        answer = self.request("POST", "/run_code", {"language": toolchain.id, "code": code})
        if answer["status"] != "Success":
            raise WrongAnswer(str(answer))
        return str(answer["run_result"]["stdout"])


class GoJudge(Dialect):
    """POST /run; the commands are those of the toolchain file's steps, as the server's own root has them.

    What they leave stays at the server as a file with an id, until the connection is closed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._left: list[str] = []
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}

    def close(self) -> None:
        """Remove what was left at the server, and close the connection. Raises OSError, WrongAnswer."""
        for number in self._left:
            status, _ = self._connection.request("DELETE", f"/file/{number}")
            if status >= 300:
                raise WrongAnswer(f"{status}: DELETE /file/{number}")
        super().close()

    def run(self, toolchain: Toolchain, code: str) -> str:
        """Raises as Dialect.run."""
        return self._ran(toolchain, self._compiled(toolchain, code))

    def again(self, toolchain: Toolchain, code: str) -> str:
        """Raises as Dialect.run."""
        if (toolchain.id, code) not in self._kept:
            self._kept[toolchain.id, code] = self._compiled(toolchain, code)
        return self._ran(toolchain, self._kept[toolchain.id, code])

    def _compiled(self, toolchain: Toolchain, code: str) -> dict[str, Any]:
        """What the last step needs, as `copyIn` names it."""
        files: dict[str, Any] = {toolchain.source: {"content": code}}
        for step in toolchain.steps[:-1]:
            left = self._step(toolchain, step, files).get("fileIds", {})
            self._left += left.values()
            files = {name: {"fileId": number} for name, number in left.items()}
        return files

    def _ran(self, toolchain: Toolchain, files: dict[str, Any]) -> str:
        return str(self._step(toolchain, toolchain.steps[-1], files)["files"]["stdout"])

    def _step(self, toolchain: Toolchain, step: StepEntry, files: dict[str, Any]) -> dict[str, Any]:
        artifact = step.artifact or next(iter(files))
        values = {"source": toolchain.source, "artifact": artifact, "memory_mb": "128", "processes": "64"}
        argv = [argument.format_map(values).replace("/work/", "./") for argument in step.argv_with_files or step.argv]
        command = {
            "args": argv, "env": GO_JUDGE_ENVIRONMENT, "cpuLimit": GO_JUDGE_LIMIT_NS, "procLimit": 64,
            "memoryLimit": GO_JUDGE_MEMORY_BYTES, "copyIn": files,
            "files": [{"content": ""}, {"name": "stdout", "max": 1 << 20}, {"name": "stderr", "max": 1 << 20}],
            "copyOutCached": [step.artifact] if step.artifact else [],
        }  # fmt: skip
        (answer,) = self.request("POST", "/run", {"cmd": [command]})
        if answer["status"] != "Accepted":
            raise WrongAnswer(str(answer))
        return dict(answer)


DIALECTS: dict[str, type[Dialect]] = {
    "cellblock": Cellblock, "piston": Piston, "judge0": Judge0, "go-judge": GoJudge,
    "jobe": Jobe, "sandboxfusion": SandboxFusion,
}  # fmt: skip
