"""All jails together have a limit of their own, so that neither they nor what they leave takes the host's memory."""

import concurrent.futures

import pytest

from tests.server import Server

TAKES = "held = bytearray(220 << 20)\nfor at in range(0, len(held), 4096): held[at] = 1\nimport time; time.sleep(2); print('held')"


@pytest.mark.threat("M2", "U7")
@pytest.mark.slow
def test_a_shortage_of_all_is_nobodys_memory_limit_and_ends() -> None:
    """Three jails that stay within their own limits take more than there is for all: who is ended for it is tried
    again, and told 503 where there is no room then either."""
    with Server(languages=["python"], sandbox_memory_mb=512, runs_at_once=3) as server:

        def run(_: int) -> tuple[int, object]:
            answer = server.post({"language": "python", "code": TAKES, "memory_limit_mb": 256, "timeout": 20})
            return answer.status, answer.json.get("reason", answer.json.get("code"))

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            ends = list(pool.map(run, range(3)))
        assert (200, "exited") in ends
        assert set(ends) <= {(200, "exited"), (503, "sandbox_unavailable")}, ends
        assert server.execute("python", "print(1)")["output"] == "1\n"
