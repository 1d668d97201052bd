"""Makes the PNG files of Chromium small: each has few colours, which a palette can hold."""

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
    guess = left + above - corner
    ways = (abs(guess - left), abs(guess - above), abs(guess - corner))
    return (left, above, corner)[ways.index(min(ways))]


def _rows(raw, width, height, size):
    """The rows of bytes that were filtered (PNG, section 9)."""
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


def shrink(data):
    """The same picture in at most 256 colours, those that are close to each other taken for one."""
    parts = list(_chunks(data))
    width, height, depth, kind = struct.unpack(">IIBB", parts[0][1][:10])
    assert depth == 8 and kind in (2, 6), "not a picture of Chromium"
    size = 3 if kind == 2 else 4
    raw = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
    rows = [[tuple(row[i:i + 3]) for i in range(0, len(row), size)]
            for row in _rows(raw, width, height, size)]
    for shift in range(0, 6):
        palette = {}
        for row in rows:
            for pixel in row:
                palette.setdefault(tuple(value >> shift for value in pixel), (len(palette), pixel))
        if len(palette) <= 256:
            break
    numbers = {}
    packed = bytearray()
    for row in rows:
        packed.append(0)
        for pixel in row:
            if pixel not in numbers:
                numbers[pixel] = palette[tuple(value >> shift for value in pixel)][0]
            packed.append(numbers[pixel])
    colours = b"".join(bytes(pixel) for _, pixel in palette.values())
    return (SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
            + _chunk(b"PLTE", colours) + _chunk(b"IDAT", zlib.compress(bytes(packed), 9))
            + _chunk(b"IEND", b""))
