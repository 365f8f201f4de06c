"""Events to a URL, signed by the Standard Webhooks scheme (standardwebhooks.com)."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import standardwebhooks

from orchestrator.addresses import leads_inside

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
