"""Shrinks Chromium's PNG files: they have few colours, so a palette suffices."""

import collections
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        yield data[at + 4:at + 8], data[at + 8:at + 8 + length]
        at += 12 + length


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _paeth(left, above, corner):
    estimate = left + above - corner
    distances = (abs(estimate - left), abs(estimate - above), abs(estimate - corner))
    return (left, above, corner)[distances.index(min(distances))]


def _rows(raw, width, height, size):
    """Yields the rows with their filters undone (PNG specification, section 9)."""
    above = bytes(width * size)
    for y in range(height):
        start = y * (width * size + 1)
        kind = raw[start]
        row = bytearray(raw[start + 1:start + 1 + width * size])
        for i in range(len(row) if kind else 0):
            left = row[i - size] if i >= size else 0
            corner = above[i - size] if i >= size else 0
            row[i] = (row[i] + (0, left, above[i], (left + above[i]) // 2,
                                _paeth(left, above[i], corner) if kind == 4 else 0)[kind]) & 255
        yield row
        above = row


def _nearest(pixel, colours):
    return min(colours, key=lambda colour: sum((a - b) ** 2 for a, b in zip(pixel, colour)))


def shrink(data):
    """The same image in at most 256 colours; rare colours become the nearest frequent one."""
    parts = list(_chunks(data))
    width, height, depth, kind = struct.unpack(">IIBB", parts[0][1][:10])
    assert depth == 8 and kind in (2, 6), "not a PNG from Chromium"
    size = 3 if kind == 2 else 4
    raw = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
    rows = [[bytes(row[i:i + 3]) for i in range(0, len(row), size)]
            for row in _rows(raw, width, height, size)]
    counts = collections.Counter(pixel for row in rows for pixel in row)
    palette = [pixel for pixel, _ in counts.most_common(256)]
    indices = {pixel: index for index, pixel in enumerate(palette)}
    for pixel in counts:
        if pixel not in indices:
            indices[pixel] = indices[_nearest(pixel, palette)]
    packed = b"".join(b"\0" + bytes(indices[pixel] for pixel in row) for row in rows)
    return (SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
            + _chunk(b"PLTE", b"".join(palette)) + _chunk(b"IDAT", zlib.compress(packed, 9))
            + _chunk(b"IEND", b""))
