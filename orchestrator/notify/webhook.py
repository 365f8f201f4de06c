"""Events to a URL, signed by the Standard Webhooks scheme (standardwebhooks.com)."""

from __future__ import annotations

import ipaddress
import socket
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import standardwebhooks

TIMEOUT_SECONDS = 5.0


class Webhook:
    """Posts each event once a call; any 2xx means that it was taken. Redirects are not followed.

    A host that leads to a private address is not called unless `allow_private`.
    """

    def __init__(self, url: str, secret: str, *, allow_private: bool) -> None:
        self._url = url
        self._signer = standardwebhooks.Webhook(secret)
        self._allow_private = allow_private

    def deliver(self, event_id: str, body: str, now: int) -> bool:
        """Whether the receiver took it. `now` in milliseconds, for the signature."""
        if not self._allow_private and leads_inside(self._url):
            return False
        moment = datetime.fromtimestamp(now // 1000, UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(now // 1000),
            "webhook-signature": self._signer.sign(event_id, moment, body),
        }
        try:
            with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
                answer = client.post(self._url, content=body.encode(), headers=headers)
        except httpx.HTTPError:
            return False
        return answer.is_success


def leads_inside(url: str) -> bool:
    """Whether a URL's host is, or resolves to, an address that is not public."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not ipaddress.ip_address(entry[4][0]).is_global for entry in found)
