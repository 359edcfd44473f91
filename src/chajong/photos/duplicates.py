"""Near-duplicates: one picture twice, encoded again, scaled, cropped, lit or mirrored.

Cars in the same pose look alike, so this goes in two steps. A signature, the low frequencies of
a grey thumbnail, finds candidates among all pairs with a few matrix products. Each candidate is
then laid over the other (scale and shift fitted by least squares) and must agree in nearly all
small blocks; a car of another model in the same pose does not.

Shapes: n photos, p pairs, s side of a thumbnail, d length of a signature.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chajong.environment import num_cores

THUMB_PX = 48
"""Side of the grey thumbnails that photos are compared by; it costs 2.3 kB of memory a photo."""

FLAT_BELOW = 6.0
"""Standard deviation of grey levels below which a photo has nothing to be compared by."""

# The thresholds are measured on 6,114 car photos and 700 altered copies of them of each kind
# (benchmarks/duplicates_planted.py). Signatures of copies agree by 0.88 or more in 99.5 %; at
# 0.80 one or two other photos for each photo are looked at among 6,000. In the end copies agree
# by 0.88 or more in 99.5 %, the likest photos of other cars by 0.79. At half size, in 16 blocks,
# copies agree by 0.88 or more too, and of the candidates that are none 7 in 8 by less than 0.75.
_CANDIDATE_FROM = 0.80
_COARSE_FROM = 0.75
_SAME_FROM = 0.835

_FLAT_POWER = 0.01  # of a block; that of the whole photo is 1

_NUM_FREQUENCIES = 8
_CROP = 0.04  # what the second view of a signature lacks on each side
_MOST_CANDIDATES = 16  # a photo and view; more are all of one scene, and joined through others
_ROUND, _ROUNDS = 2048, 64  # candidates that are looked at together, unless rounds get too many
_CHUNK_PAIRS, _CHUNK_PHOTOS = 512, 1024  # as floats, all thumbnails at once would be large
# Tiles this small stay below the size at which OpenBLAS starts threads for a product, which
# takes it longer than the product; measured, four times as long.
_BLOCK, _ROWS, _COLUMNS = 512, 64, 128

Float = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]

_LEAST_FIT = np.array([0.75, -0.15, 0.75, -0.15])
_MOST_FIT = np.array([1.33, 0.15, 1.33, 0.15])


@dataclass(frozen=True)
class Pairs:
    """Pairs of photos that show the same picture.

    Attributes:
        first: (p,) places of photos.
        second: (p,) places of others.
        score: (p,) how well the two agree once laid over one another, up to 1.
        mirrored: (p,) whether the second is mirrored.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    score: Float
    mirrored: NDArray[np.bool_]


def near_duplicates(thumbs: Bytes) -> Pairs:
    """Find the photos that show the same picture.

    Args:
        thumbs: (n, 48, 48) grey thumbnails, each photo squeezed to a square.

    Returns:
        The pairs found, each once; flat photos are in none.
    """
    waiting = _candidates(thumbs)
    waiting = waiting[np.argsort(-waiting["agree"], kind="stable")]
    found, score = waiting[:0], np.zeros(0, np.float32)
    while len(waiting):
        # Likeliest first, and none within what is joined already: of a thousand photos of one
        # scene a few thousand pairs are looked at, not half a million.
        joined = components(len(thumbs), found["a"], found["b"])
        waiting = waiting[joined[waiting["a"]] != joined[waiting["b"]]]
        size = max(_ROUND, len(waiting) // _ROUNDS)
        some, waiting = waiting[:size], waiting[size:]
        agree = _verify_all(thumbs, some)
        same = agree >= _SAME_FROM
        found = np.concatenate([found, some[same]])
        score = np.concatenate([score, agree[same]])
    order = np.argsort(-score, kind="stable")
    # A pair may be found in several views; its best is kept.
    ends = np.sort(np.stack([found["a"], found["b"]], axis=1).astype(np.intp), axis=1)
    _, best = np.unique(ends[order], axis=0, return_index=True)
    kept = order[np.sort(best)]
    return Pairs(ends[kept, 0], ends[kept, 1], score[kept], found["mirrored"][kept])


def components(num: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Join what is linked, directly or through others.

    Args:
        num: How many photos there are, n.
        first: (p,) places of photos.
        second: (p,) places of those that they are linked to.

    Returns:
        (n,) for each photo the least place among those it is joined with.
    """
    root = list(range(num))

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((find(one), find(other)))
        root[high] = low
    return np.array([find(place) for place in range(num)], dtype=np.intp)


def perceptual_hashes(thumbs: Bytes) -> NDArray[np.uint64]:
    """Sum up each photo in 64 bits; alike photos differ in few of them.

    The classic pHash: which of the 8 x 8 lowest cosine frequencies lie above their median.

    Args:
        thumbs: (n, 48, 48) grey thumbnails.

    Returns:
        (n,) hashes.
    """
    waves = _spectrum(thumbs, 0.0).reshape(len(thumbs), -1)
    bits = waves > np.median(waves, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


_PAIR = np.dtype([("a", "i4"), ("b", "i4"), ("agree", "f4"), ("mirrored", "?"), ("cropped", "?")])
"""A candidate: photo b, perhaps mirrored, may be photo a, perhaps cropped."""


# --- signatures and candidates --------------------------------------------------------------------


def _spectrum(thumbs: Bytes, crop: float) -> Float:
    # (n, 8, 8) lowest frequencies (DCT-II) of thumbnails that lack `crop` on every side.
    size = THUMB_PX
    centres = (np.arange(size) + 0.5) / size
    read_at = (crop + centres * (1 - 2 * crop)) * size - 0.5
    waves = np.cos(np.pi * centres * np.arange(_NUM_FREQUENCIES)[:, None])
    waves = (waves @ _hat(read_at[None], size)[0]).astype(np.float32)
    result = np.empty((len(thumbs), _NUM_FREQUENCIES, _NUM_FREQUENCIES), np.float32)
    for at in range(0, len(thumbs), _CHUNK_PHOTOS):
        chunk = thumbs[at : at + _CHUNK_PHOTOS].astype(np.float32)
        result[at : at + _CHUNK_PHOTOS] = waves @ chunk @ waves.T
    return result


def _signatures(thumbs: Bytes, crop: float) -> tuple[Float, Float]:
    # Unit vectors in two parts: frequencies that mirroring leaves as they are, and that it negates.
    down, across = np.indices((_NUM_FREQUENCIES, _NUM_FREQUENCIES))
    radius = np.hypot(down, across)
    # Photos have less of the high frequencies; a root makes up for half of that. The corner
    # beyond the circle and the mean grey level are left out.
    used = (radius > 0) & (radius < _NUM_FREQUENCIES)
    waves = _spectrum(thumbs, crop)[:, used] * np.sqrt(radius[used]).astype(np.float32)
    waves /= np.maximum(np.linalg.norm(waves, axis=1, keepdims=True), 1e-6)
    odd = across[used] % 2 == 1
    # Photos of zeros, which agree with none, fill the last block.
    waves = np.pad(waves, ((0, -len(waves) % _BLOCK), (0, 0)))
    return np.ascontiguousarray(waves[:, ~odd]), np.ascontiguousarray(waves[:, odd])


def _candidates(thumbs: Bytes) -> NDArray[np.void]:
    # All pairs whose signatures agree, plain or mirrored, whole or one of them cropped.
    chunks = [thumbs[at : at + _CHUNK_PHOTOS] for at in range(0, len(thumbs), _CHUNK_PHOTOS)]
    blocks = []
    with ThreadPoolExecutor(num_cores()) as threads:
        spread = threads.map(partial(np.std, axis=(1, 2), dtype=np.float32), chunks)
        places = np.flatnonzero(np.concatenate([np.zeros(0), *spread]) >= FLAT_BELOW)
        whole, cropped = threads.map(partial(_signatures, thumbs[places]), (0.0, _CROP))
        starts = range(0, len(places), _BLOCK)
        for crop, queries in ((0.0, whole), (_CROP, cropped)):
            search = partial(_search, queries, whole, cropped=crop > 0)
            blocks += list(threads.map(search, starts))
    pairs = np.concatenate([np.zeros(0, _PAIR), *blocks])
    pairs["a"], pairs["b"] = places[pairs["a"]], places[pairs["b"]]
    return pairs


def _search(
    queries: tuple[Float, Float], whole: tuple[Float, Float], start: int, *, cropped: bool
) -> NDArray[np.void]:
    # Compare a block of photos with all photos; whole ones only with those from the block on.
    block = slice(start, start + _BLOCK)
    rows = [part[block].reshape(1, -1, _ROWS, part.shape[1]) for part in queries]
    even = np.empty((_BLOCK // _COLUMNS, _BLOCK // _ROWS, _ROWS, _COLUMNS), np.float32)
    odd = np.empty_like(even)
    found = []
    for first in range(0 if cropped else start, len(whole[0]), _BLOCK):
        columns = [
            part[first : first + _BLOCK].reshape(-1, 1, _COLUMNS, part.shape[1]) for part in whole
        ]
        np.matmul(rows[0], columns[0].transpose(0, 1, 3, 2), out=even)
        np.matmul(rows[1], columns[1].transpose(0, 1, 3, 2), out=odd)
        # The better of plain, even + odd, and mirrored, even - odd.
        even += np.abs(odd, out=odd)
        if even.max() < _CANDIDATE_FROM:
            continue
        agree = even.transpose(1, 2, 0, 3).reshape(_BLOCK, _BLOCK)
        hits = agree >= _CANDIDATE_FROM
        if np.count_nonzero(hits) > _BLOCK * _MOST_CANDIDATES:  # everything looks alike
            hits &= agree >= np.partition(agree, -_MOST_CANDIDATES, axis=1)[:, [-_MOST_CANDIDATES]]
        a, b = np.nonzero(hits)
        pairs = np.zeros(len(a), _PAIR)
        pairs["a"], pairs["b"] = a + start, b + first
        pairs["agree"], pairs["cropped"] = agree[a, b], cropped
        others = pairs["a"] != pairs["b"] if cropped else pairs["a"] < pairs["b"]
        found.append(_strongest(pairs[others]))
    kept = _strongest(np.concatenate([np.zeros(0, _PAIR), *found]))
    kept["mirrored"] = (queries[1][kept["a"]] * whole[1][kept["b"]]).sum(axis=1) < 0
    return kept


def _strongest(pairs: NDArray[np.void]) -> NDArray[np.void]:
    # At most `_MOST_CANDIDATES` for each photo a.
    pairs = pairs[np.lexsort((-pairs["agree"], pairs["a"]))]
    _, first, num = np.unique(pairs["a"], return_index=True, return_counts=True)
    rank = np.arange(len(pairs)) - np.repeat(first, num)
    return pairs[rank < _MOST_CANDIDATES]


# --- verification ---------------------------------------------------------------------------------


def _verify_all(thumbs: Bytes, pairs: NDArray[np.void]) -> Float:
    chunks = [pairs[at : at + _CHUNK_PAIRS] for at in range(0, len(pairs), _CHUNK_PAIRS)]
    with ThreadPoolExecutor(num_cores()) as threads:
        checked = list(threads.map(partial(_verify, thumbs), chunks))
    return np.concatenate([np.zeros(0, np.float32), *checked])


def _verify(thumbs: Bytes, pairs: NDArray[np.void]) -> Float:
    # (p,) how well the photos of each pair agree; 0 where a coarse look already says no.
    score = np.zeros(len(pairs), np.float32)
    a, b = thumbs[pairs["a"]], thumbs[pairs["b"]]
    b = np.where(pairs["mirrored"][:, None, None], b[:, :, ::-1], b)
    scale = np.where(pairs["cropped"], 1 - 2 * _CROP, 1.0)
    # Scale and shift down and across: b at (y, x) is a at (m0 y + m1, m2 x + m3), from the centre.
    fit = np.stack([scale, 0 * scale, scale, 0 * scale], axis=1)
    coarse_a, coarse_b = _halved(a), _halved(b)
    fit = _align(coarse_a, coarse_b, fit, num_steps=5)
    left = np.flatnonzero(_agreement(coarse_a, coarse_b, fit, num_blocks=4) >= _COARSE_FROM)
    if len(left):
        fine_a, fine_b = a[left].astype(np.float32), b[left].astype(np.float32)
        fit = _align(fine_a, fine_b, fit[left], num_steps=3)
        score[left] = _agreement(fine_a, fine_b, fit, num_blocks=8)
    return score


def _halved(thumbs: Bytes) -> Float:
    rows = thumbs[:, ::2].astype(np.float32) + thumbs[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4


def _hat(at: Float, size: int) -> Float:
    # (p, c, s) weights that read c places off s pixels, linearly between their centres.
    weights: Float = at[:, :, None].astype(np.float32) - np.arange(size, dtype=np.float32)
    np.abs(weights, out=weights)  # in place: to find new memory takes as long as to compute
    np.subtract(1, weights, out=weights)
    return np.maximum(weights, 0, out=weights)


def _inner(size: int) -> slice:
    # The middle 5/6 of b is compared: a crop of b's edge still has its counterpart in a.
    return slice(size // 12, size - size // 12)


def _centred(size: int) -> Float:
    places: Float = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    return places[_inner(size)]


def _warped(a: Float, fit: Float) -> Float:
    # a, read where the inner pixels of b should be in it.
    size, at = a.shape[1], _centred(a.shape[1])
    down = (fit[:, 0:1] * at + fit[:, 1:2] + 0.5) * size - 0.5
    across = (fit[:, 2:3] * at + fit[:, 3:4] + 0.5) * size - 0.5
    edge = size - 1
    rows, columns = _hat(np.clip(down, 0, edge), size), _hat(np.clip(across, 0, edge), size)
    warped: Float = rows @ a @ columns.transpose(0, 2, 1)
    return warped


def _align(a: Float, b: Float, fit: Float, num_steps: int) -> Float:
    # Inverse compositional Lucas-Kanade with gain and offset (Baker and Matthews, 2004): the
    # normal equations hang on b alone, so they are solved once.
    size, at = b.shape[1], _centred(b.shape[1])
    inner = _inner(size)
    slopes = np.gradient(b, 1 / size, axis=(1, 2))  # central: half a pixel off, no fit is found
    down, across, middle = (part[:, inner, inner] for part in (*slopes, b))
    ways = [down * at[:, None], down, across * at, across, middle, np.ones_like(middle)]
    flat: Float = np.stack(ways, axis=1).reshape(len(b), len(ways), -1)
    square = (flat @ flat.transpose(0, 2, 1)).astype(np.float64)
    # A slight pull towards no move, for photos whose slopes leave a move open.
    mean_power = np.trace(square, axis1=1, axis2=2) / len(ways)
    solver = np.linalg.inv(square + 1e-4 * mean_power[:, None, None] * np.eye(len(ways)))
    for _ in range(num_steps):
        target = _warped(a, fit).reshape(len(a), -1, 1)
        found = (solver @ (flat @ target))[:, :, 0]
        gain = np.maximum(found[:, 4:5], 0.2)
        move = np.clip(found[:, :4] / gain, -0.08, 0.08)
        fit = np.clip(fit - fit[:, [0, 0, 2, 2]] * move, _LEAST_FIT, _MOST_FIT)
    return fit


def _agreement(a: Float, b: Float, fit: Float, num_blocks: int) -> Float:
    # (p,) the mean correlation of blocks, `num_blocks` squared of them, those with texture.
    inner = _inner(b.shape[1])
    one, other = _standardised(_warped(a, fit)), _standardised(b[:, inner, inner])
    side = one.shape[1] // num_blocks
    mean_of = np.repeat(np.eye(num_blocks, dtype=np.float32), side, axis=1) / side

    def blocks(photos: Float) -> Float:
        # (p, num_blocks, num_blocks) means; products of matrices are faster than sums of parts.
        return np.asarray(mean_of @ photos @ mean_of.T)

    mean_one, mean_other = blocks(one), blocks(other)
    both = blocks(one * other) - mean_one * mean_other
    power = blocks(one * one) - mean_one**2, blocks(other * other) - mean_other**2
    # Blocks that are flat in both photos agree by their noise alone, so they count for little.
    textured = np.maximum(*power)
    weight = textured / (textured + 2 * _FLAT_POWER)
    agree = (both + _FLAT_POWER) / np.sqrt((power[0] + _FLAT_POWER) * (power[1] + _FLAT_POWER))
    mean: Float = (agree * weight).sum(axis=(1, 2)) / (weight.sum(axis=(1, 2)) + 1e-6)
    return mean


def _standardised(photos: Float) -> Float:
    centred = photos - photos.mean(axis=(1, 2), keepdims=True)
    standardised: Float = centred / (centred.std(axis=(1, 2), keepdims=True) + 1e-3)
    return standardised
