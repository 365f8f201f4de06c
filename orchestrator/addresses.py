"""Whether an address is one of the public network."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


def leads_inside(url: str) -> bool:
    """Whether a URL's host is, or resolves to, an address that is not public."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not ipaddress.ip_address(entry[4][0]).is_global for entry in found)
