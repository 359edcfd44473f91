"""Room in memory that photos share while they are decoded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chajong.photos.header import Header

# Most that decoding was seen to take, in bytes a pixel: a JPEG is made small as it is read, but a
# progressive one keeps all its coefficients until then.
_BYTES_A_PIXEL = {"jpeg": 6}
_BYTES_A_PIXEL_ELSE = 14


class Room:
    """Lets so much be decoded at once that it fits.

    Args:
        num_bytes: How much there is; a photo that needs more is let in alone.
    """

    def __init__(self, num_bytes: float) -> None:
        self._num_bytes, self._num_taken = num_bytes, 0
        self._left = threading.Condition()

    @contextmanager
    def taken(self, header: Header) -> Iterator[None]:
        """Wait until there is room for a photo, and hold it.

        Args:
            header: What its file says of itself.

        Yields:
            Nothing; the room is held until the block ends.
        """
        need = header.width_px * header.height_px
        need *= _BYTES_A_PIXEL.get(header.format, _BYTES_A_PIXEL_ELSE)
        with self._left:
            self._left.wait_for(
                lambda: not self._num_taken or self._num_taken + need <= self._num_bytes
            )
            self._num_taken += need
        try:
            yield
        finally:
            with self._left:
                self._num_taken -= need
                self._left.notify_all()
