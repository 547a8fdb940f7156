"""Signatures after the Standard Webhooks rules, of what we send.

See https://www.standardwebhooks.com.
"""

from collections.abc import Callable

from standardwebhooks import Webhook as Signer

from schemas.times import utc


class Signed:
    """The headers that identify and sign a body.

    `secret` is base64, with or without `whsec_`; several parted by spaces sign all, so that a
    secret can be changed without a gap; without one the body goes unsigned. Raises ValueError,
    which does not say it, for a secret that is none.
    """

    def __init__(self, secret: str | None, now_ms: Callable[[], int]) -> None:
        try:
            self._signers = [Signer(part) for part in (secret or "").split()]
        except ValueError as error:  # whose words are about padding
            raise ValueError(
                "a secret that signs webhooks is not Base64; make one with "
                "`openssl rand -base64 32`"
            ) from error
        self._now_ms = now_ms

    def headers(self, message_id: str, body: bytes) -> dict[str, str]:
        """`webhook-id` and `Idempotency-Key` are the message's id, the same at every attempt."""
        now = utc(self._now_ms())
        made = {
            "Idempotency-Key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._signers:
            made["webhook-signature"] = " ".join(
                signer.sign(message_id, now, body.decode()) for signer in self._signers
            )
        return made
