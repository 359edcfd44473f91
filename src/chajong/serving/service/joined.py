"""Writes that leave together: head and body of an answer cost one call of the system, not two."""

import asyncio
from typing import Any


class JoinedWrites:
    """A transport that sends what one step of the event loop writes when the step is over.

    Args:
        transport: What sends; all else that is asked of this one goes there.
        loop: The event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send soon.

        Args:
            data: Bytes.
        """
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, then hang up."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()
