"""Checksums of FLAC and Ogg, to make files by hand that decoders take."""


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    rows = []
    for value in range(256):
        rest = value << (bits - 8)
        for _ in range(8):
            rest = (rest << 1 ^ polynomial if rest & top else rest << 1) & mask
        rows.append(rest)
    return tuple(rows)


_CRC8, _CRC16, _CRC32 = _table(0x07, 8), _table(0x8005, 16), _table(0x04C11DB7, 32)


def flac_crc8(data: bytes) -> int:
    """Sum the header of a FLAC frame."""
    rest = 0
    for byte in data:
        rest = _CRC8[rest ^ byte]
    return rest


def flac_crc16(data: bytes) -> int:
    """Sum a FLAC frame."""
    rest = 0
    for byte in data:
        rest = (rest << 8 & 0xFFFF) ^ _CRC16[rest >> 8 ^ byte]
    return rest


def ogg_crc32(page: bytes) -> int:
    """Sum a page of Ogg whose own sum is 0."""
    rest = 0
    for byte in page:
        rest = (rest << 8 & 0xFFFFFFFF) ^ _CRC32[rest >> 24 ^ byte]
    return rest
