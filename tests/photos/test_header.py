"""What the headers of photos say, without decoding them."""

from contextlib import suppress
from io import BytesIO

import pytest
from PIL import Image

from chajong.photos.decode import decode
from chajong.photos.header import Header, Unreadable, read_header

SIZE = (48, 32)


def saved(kind: str, num_frames: int = 1, **options: object) -> bytes:
    frames = [Image.new("RGB", SIZE, (place * 60, 90, 90)) for place in range(num_frames)]
    out = BytesIO()
    if num_frames > 1:
        options |= {"save_all": True, "append_images": frames[1:]}
    frames[0].save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (saved("JPEG"), Header("jpeg", *SIZE)),
        (saved("PNG"), Header("png", *SIZE)),
        (saved("PNG", 3), Header("png", *SIZE, num_frames=3)),
        (saved("WEBP"), Header("webp", *SIZE)),
        (saved("WEBP", lossless=True), Header("webp", *SIZE)),
        (saved("WEBP", exif=Image.Exif()), Header("webp", *SIZE)),
        (saved("WEBP", 3), Header("webp", *SIZE, num_frames=3)),
    ],
)
def test_what_a_header_says_is_what_is_decoded(data: bytes, header: Header) -> None:
    assert read_header(data) == header
    photo = decode(data)
    assert (photo.format, photo.width_px, photo.height_px) == (header.format, *SIZE)


def test_scans_are_counted() -> None:
    assert read_header(saved("JPEG", progressive=True)).num_scans > 5
    assert read_header(saved("JPEG")).num_scans == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_any_part_of_a_file_is_read_or_refused(kind: str) -> None:
    data = saved(kind)
    for length in range(len(data)):
        with suppress(Unreadable):
            assert read_header(data[:length]).width_px == SIZE[0]


def test_other_formats_are_named() -> None:
    with pytest.raises(Unreadable, match="a GIF"):
        read_header(saved("GIF"))
    with pytest.raises(Unreadable, match="empty file"):
        read_header(b"")
