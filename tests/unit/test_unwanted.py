"""How quickly unwanted bodies are read, with a clock of our own."""

from daemon.api.unwanted import BYTES_PER_S, CLIENTS_MAX, Unwanted


def test_a_client_is_read_at_one_rate_over_all_of_its_connections() -> None:
    unwanted = Unwanted()
    assert unwanted.pause_s("a", BYTES_PER_S // 2, 10.0) == 0.5
    assert unwanted.pause_s("a", BYTES_PER_S, 10.25) == 1.25, "another connection, while the first still pauses"
    assert unwanted.pause_s("b", BYTES_PER_S // 2, 10.25) == 0.5, "nobody waits for another client"
    assert unwanted.pause_s("a", BYTES_PER_S // 4, 20.0) == 0.25, "what was read long ago is forgotten"


def test_it_remembers_no_more_than_so_many_clients_and_of_those_the_latest() -> None:
    unwanted = Unwanted()
    for number in range(CLIENTS_MAX + 1):
        unwanted.pause_s(str(number), BYTES_PER_S, 0.0)
    assert unwanted.pause_s(str(CLIENTS_MAX), BYTES_PER_S, 0.0) == 2.0
    assert unwanted.pause_s("0", BYTES_PER_S, 0.0) == 1.0
    assert repr(unwanted) == f"<Unwanted: {CLIENTS_MAX} clients>"
