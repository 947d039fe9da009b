"""How many bytes each client holds of something that all share: only who holds some is remembered."""


class Tally:
    """`total` is of all clients together."""

    def __init__(self) -> None:
        self.total = 0
        self._of_client: dict[str, int] = {}

    def of(self, client: str) -> int:
        """What this one holds."""
        return self._of_client.get(client, 0)

    def add(self, client: str, more: int) -> None:
        """It holds so many bytes more, or fewer."""
        self.total += more
        own = self.of(client) + more
        if own:
            self._of_client[client] = own
        else:
            self._of_client.pop(client, None)

    def most(self) -> str:
        """Who holds most. Raises ValueError where nobody holds anything."""
        return max(self._of_client, key=self._of_client.__getitem__)
