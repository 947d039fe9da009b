"""What an internet address and the name of a host are, for whoever listens on one and whoever is asked by one."""

import ipaddress

HOST_NAME = r"\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+"  # as a URL has it, without a port; a dot at its end says the same
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parsed(text: str) -> Address | None:
    """Without a zone (RFC 4007); an IPv4 address that IPv6 carries is that IPv4 address (RFC 4291, 2.5.5.2). None: it
    is no address."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def is_loopback(text: str) -> bool:
    """Whether it is an address of this host alone."""
    found = parsed(text)
    return found is not None and found.is_loopback
