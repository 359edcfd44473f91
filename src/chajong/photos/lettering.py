"""Lettering for pictures, Korean too: in a Korean font, or romanised where there is none."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageDraw, ImageFont

from chajong.wording import nfc

FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
# Best first; each has Latin letters as well.
_KOREAN_FONTS = (
    "NotoSansCJK*-Regular.tt[cf]",
    "NotoSansKR*.[ot]tf",
    "NanumGothic.tt[cf]",
    "NanumBarunGothic.ttf",
    "AppleSDGothicNeo.ttc",
    "malgun.ttf",
    "UnDotum.ttf",
)

_INITIALS = "g,kk,n,d,tt,r,m,b,pp,s,ss,,j,jj,ch,k,t,p,h"
_VOWELS = "a,ae,ya,yae,eo,e,yeo,ye,o,wa,wae,oe,yo,u,wo,we,wi,yu,eu,ui,i"
_FINALS = ",k,k,k,n,n,n,t,l,k,m,l,l,l,p,l,m,p,p,t,t,ng,t,t,k,t,p,t"

Pen = ImageDraw.ImageDraw
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Lettering:
    """Writes on pictures, in the best font that this machine has.

    Args:
        folders: Where to look for a Korean font.
    """

    def __init__(self, folders: Sequence[str] = FONT_FOLDERS) -> None:
        self.korean_font = _find_korean(folders)
        self._fonts: dict[int, Font] = {}

    def write(
        self,
        pen: Pen,
        place_px: tuple[int, int],
        text: str,
        size_px: int,
        ink: str,
        anchor: str = "la",
    ) -> None:
        """Write one line.

        Args:
            pen: What draws on the picture.
            place_px: Where, from the left and from the top.
            text: Any text.
            size_px: Height of the letters.
            ink: A colour as Pillow names it.
            anchor: What of the text is at the place: two letters as Pillow has them, such as
                `la`, its left and top.
        """
        pen.text(place_px, self._writable(text), fill=ink, font=self._font(size_px), anchor=anchor)

    def fitting(self, text: str, size_px: int, width_px: int) -> str:
        """Shorten a text in its middle; names often differ at their ends.

        Args:
            text: Any text.
            size_px: Height of the letters.
            width_px: The width to fit in.

        Returns:
            The text, or its two ends with an ellipsis between them.
        """
        text, font = self._writable(text), self._font(size_px)
        if font.getlength(text) <= width_px:
            return text
        kept = len(text)
        while kept > 2 and font.getlength(_without_middle(text, kept)) > width_px:
            kept -= 1
        return _without_middle(text, kept)

    def _writable(self, text: str) -> str:
        text = nfc(" ".join(text.split()))
        return text if self.korean_font else romanised(text)

    def _font(self, size_px: int) -> Font:
        if size_px not in self._fonts:
            path = self.korean_font
            self._fonts[size_px] = (
                ImageFont.truetype(path, size_px) if path else ImageFont.load_default(size_px)
            )
        return self._fonts[size_px]


def romanised(text: str) -> str:
    """Spell Korean in Latin letters.

    Source: Revised Romanization of Korean (2000), each syllable for itself.

    Args:
        text: Any text.

    Returns:
        The text with each Hangul syllable spelled out, and all but Latin letters as `?`.
    """
    spelled = "".join(_syllable(letter) for letter in nfc(text))
    return re.sub(r"[^\x20-\u017f…]", "?", spelled)


def _syllable(letter: str) -> str:
    # Source: The Unicode Standard, 3.12, arithmetic of Hangul syllables.
    number = ord(letter) - 0xAC00
    if not 0 <= number < 19 * 21 * 28:
        return letter
    parts = (_INITIALS, number // 588), (_VOWELS, number // 28 % 21), (_FINALS, number % 28)
    return "".join(spellings.split(",")[place] for spellings, place in parts)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def _find_korean(folders: Sequence[str]) -> Path | None:
    for name in _KOREAN_FONTS:
        for folder in folders:
            for path in sorted(Path(folder).expanduser().rglob(name)):
                try:
                    ImageFont.truetype(path, 12)
                except OSError:  # damaged
                    continue
                return path
    return None
