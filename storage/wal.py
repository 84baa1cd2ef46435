"""Has the write-ahead log lost anything that was acknowledged?

SQLite takes the log up to the last transaction that is whole, and ignores what follows: after a power failure, that is
the transaction that was being written. A damaged frame looks the same, but silently takes all later transactions with
it. The difference: every transaction is synced before the next one is written, so what a power failure leaves is at
most one transaction. Where the rest holds more than one, the log is damaged.

Damage within the very last transaction, or to the mark that ends the one before, cannot be told from a power failure:
then these are lost, as if they had never been acknowledged.

The format is that of https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path
from typing import BinaryIO, Final

from storage.errors import damaged

_HEADER: Final = struct.Struct(">6I8s")
"""Magic number, format, page size, checkpoints, two salts, and the checksum of these."""
_FRAME: Final = struct.Struct(">II8s8s")
"""Page, size of the file after the transaction that ends here (0 if none does), the salts, and a checksum."""
_FRAME_BYTES: Final = _FRAME.size + 4096
_MAGIC: Final = 0x377F0682
_INDEX: Final = struct.Struct("=16xI")
"""How `-shm` begins: how many frames SQLite found to be whole."""


def check_log(path: Path, index: Path) -> None:
    """`path` is a write-ahead log, and `index` what SQLite has made of it: the file `-shm`, while a connection is open
    that has read it. Raises StorageDamaged, OSError."""
    if not path.exists() or path.stat().st_size < _HEADER.size + _FRAME_BYTES:
        return
    seen = index.read_bytes()[: _INDEX.size] if index.exists() else b""
    if len(seen) < _INDEX.size:
        raise damaged(path, "the file beside it says that it has no write-ahead log")
    whole = _INDEX.unpack(seen)[0]
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        frames = [_frame(file, number) for number in range(whole, (path.stat().st_size - _HEADER.size) // _FRAME_BYTES)]
        if not frames:
            return
        # The log is written from its start again and again; the salts tell what belongs to this time. Where its header
        # is damaged, the first frame may be, too.
        salts = header[16:24] if _is_sound(header) else Counter(own for _, own in frames).most_common(1)[0][0]
        over = False
        for size, own_salts in frames:
            if _alike(own_salts, salts):
                if over:
                    what = f"frame {whole + 1} or the header of {path.name} is not what was written"
                    raise damaged(path, f"{what}, and more than one write follows")
                over = size > 0


def _frame(file: BinaryIO, number: int) -> tuple[int, bytes]:
    """Its size (0 if no transaction ends there) and its salts."""
    file.seek(_HEADER.size + number * _FRAME_BYTES)
    _, size, salts, _ = _FRAME.unpack(file.read(_FRAME.size))
    return size, salts


def _alike(salts: bytes, others: bytes) -> bool:
    """Equal but for one damaged byte."""
    return sum(one != other for one, other in zip(salts, others, strict=True)) <= 1


def _is_sound(header: bytes) -> bool:
    magic, *_, checksum = _HEADER.unpack(header)
    if magic & ~1 != _MAGIC:
        return False
    order = ">" if magic & 1 else "<"
    first = second = 0
    for one, other in struct.iter_unpack(f"{order}II", header[:24]):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return bool(checksum == struct.pack(">II", first, second))
