"""What the bytes of a sound file say of its length, without a decoder: sizes in headers are claims, and are compared.

libsndfile believes some headers that are wrong, and reads the first of several Ogg streams only. Here a header is read
again, compared with the file, and replaced by a right one (`Patch`) where the sound is all there.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from typing import BinaryIO, NamedTuple

__all__ = ["CHUNKED", "Flac", "OggLink", "Patch", "chunk_patch", "flac_header", "mp3_length", "ogg_links", "skip_id3"]

# Sizes from here on stand for "unknown": sound that was written to a pipe (SoX writes 0x7FFFF000, others all ones).
_UNKNOWN = {4: 0x7FFFF000, 8: 1 << 62}
# Junk behind the sound that is no sound: tags, padding to a disk's block.
_JUNK = 4096


# Samples that an encoder of MP3 adds at both ends, at most: LAME's fields hold no more.
_MP3_ADDED = 2 * 4095


# Form of a size, place of the first chunk, length of a name, bytes of its own head that a size counts, padding
_KINDS = {
    b"RIFF": ("<I", 12, 4, 0, 2), b"RF64": ("<I", 12, 4, 0, 2), b"BW64": ("<I", 12, 4, 0, 2),
    b"RIFX": (">I", 12, 4, 0, 2), b"FORM": (">I", 12, 4, 0, 2), b"caff": (">q", 8, 4, 0, 1),
    b"riff": ("<q", 40, 16, 24, 8),
}  # fmt: skip
# Each byte with its bits in reverse
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# With what files of chunks begin
CHUNKED = {*_KINDS, b".snd", b"dns.", b"NIST"}


class Patch(NamedTuple):
    """Bytes that stand in for those of a file.

    Parameters
    ----------
    at : int
        Where, in bytes.
    data : bytes
        What is to be read there.
    note : str
        What was wrong, for a person; empty where nothing was.
    """

    at: int
    data: bytes
    note: str = ""


class _Data(NamedTuple):
    """Where the sound lies in a file of chunks, and where and how its size is written (`extra` bytes are included)."""

    field: int
    form: str
    claim: int
    start: int


def chunk_patch(file: BinaryIO, size: int) -> Patch | None:
    """Return the right size of the sound in a wav, RF64, W64, AIFF, AU or CAF file where the header has a wrong one.

    A size that is unknown, zero, or far too small counts up to the end of the file. So does one that is too large where
    the size of the whole file is stated rightly, or where just the header was counted, too.

    Raises
    ------
    ValueError
        The file ends before the size in its header: it was cut; or more sound follows.
    """
    found = _data_chunk(file, size)
    if found is None:
        return None
    if 0 <= found.claim < size - found.start:
        file.seek(found.start + found.claim + found.claim % 2)
        if file.read(4) in (b"data", b"SSND", b"RIFF", b"RIFX", b"FORM"):
            raise ValueError("several sounds follow each other, of which only the first would be read")
    rest, width = size - found.start, struct.calcsize(found.form)
    unknown = not 0 <= found.claim < _UNKNOWN[width]
    if not unknown:
        missing, stated = found.claim - rest, _file_size(file)
        if missing > 0 and stated != size and missing not in (8, found.start - 8, found.start):
            raise ValueError(f"truncated: {max(0, rest)} bytes where the header promises {found.claim}")
        if missing == 0 or found.field < 0 or (missing < 0 and _ends(file, found, size, stated)):
            return None
    data = struct.pack(found.form, min(rest + _header_size(file), (1 << 8 * width - (width == 8)) - 1))
    note = f"a wrong length in its header: it counts {found.claim} bytes of sound, {rest} are there and were read"
    return Patch(found.field, data, "" if unknown else note)


def _ends(file: BinaryIO, found: _Data, size: int, stated: int) -> bool:
    """Say whether the sound ends where its size says: another chunk follows, or junk; `stated` is that of the file."""
    at = found.start + found.claim
    file.seek(at)
    behind = file.read(26)
    for skip in range(8):  # a chunk may start at an odd byte, or be padded to 8
        name = behind[skip : skip + 4]
        length = struct.unpack_from(found.form[0] + "I", behind, skip + 4)[0] if len(behind) >= skip + 8 else size
        if len(name) == 4 and all(32 <= byte < 127 for byte in name) and at + skip + 8 + length <= size + 1:
            return True
    if not found.claim or stated == size:
        return False
    return size - at <= _JUNK or 0 <= stated - at <= 1


def _header_size(file: BinaryIO) -> int:
    """Return the bytes that a size counts beside the sound: of AIFF 8, of W64 the chunk's head of 24."""
    file.seek(0)
    return {b"FORM": 8, b"riff": 24, b"caff": 4}.get(file.read(4), 0)


def _file_size(file: BinaryIO) -> int:
    """Return the size of the whole file that its header states; 0 where it states none."""
    file.seek(0)
    head = file.read(28)
    if len(head) < 28:
        return 0
    if head[:4] in (b"RF64", b"BW64"):
        return 8 + int(struct.unpack_from("<q", head, 20)[0])
    if head[:4] == b"riff":
        return int(struct.unpack_from("<q", head, 16)[0])
    order = {b"RIFF": "<I", b"RIFX": ">I", b"FORM": ">I"}.get(head[:4])
    return 8 + int(struct.unpack_from(order, head, 4)[0]) if order else 0


def _data_chunk(file: BinaryIO, size: int) -> _Data | None:
    file.seek(0)
    head = file.read(512)
    if head[:4] in (b".snd", b"dns."):
        order = ">" if head[:4] == b".snd" else "<"
        if len(head) < 12:
            return None
        start, claim = struct.unpack_from(order + "II", head, 4)
        return _Data(8, order + "I", claim, start) if start <= size else None
    if head[:4] == b"NIST":
        return _nist(file)
    long: _Data | None = None  # the size of RF64, which stands in front
    for name, field, form, claim, start in _chunks(file, head, size):
        if name == b"ds64":
            file.seek(start + 8)
            words = file.read(8)
            long = _Data(start + 8, "<q", struct.unpack("<q", words)[0], 0) if len(words) == 8 else None
        elif name == b"data":
            if head[:4] in (b"RF64", b"BW64") and long is not None and claim == 0xFFFFFFFF:
                return long._replace(start=start)
            extra = {b"riff": 24, b"caff": 4}.get(head[:4], 0)
            start += 4 if head[:4] == b"caff" else 0  # the number of edits stands in front of the sound
            return _Data(field, form, claim - extra if claim >= 0 else claim, start)
        elif name == b"SSND":
            return _Data(field, form, claim - 8 if claim >= 8 else 0, start + 8)
    return None


def _nist(file: BinaryIO) -> _Data | None:
    """Return the size of the sound in a NIST SPHERE file (TIMIT), whose header is text; it is only compared."""
    file.seek(0)
    text = file.read(4096).decode("latin-1")
    fields = dict(re.findall(r"^(\w+) -i (\d+)\s*$", text, re.MULTILINE))
    length = text[8:16].strip()
    if "shorten" in text or not length.isdigit() or not {"sample_count", "sample_n_bytes"} <= set(fields):
        return None
    claim = int(fields["sample_count"]) * int(fields["sample_n_bytes"]) * int(fields.get("channel_count", 1))
    return _Data(-1, "<q", claim, int(length))


def _chunks(file: BinaryIO, head: bytes, size: int) -> Iterator[tuple[bytes, int, str, int, int]]:
    """Yield name, place and form of the size, size, and place of the content of each chunk."""
    if head[:4] not in _KINDS:
        return
    form, at, width, own, pad = _KINDS[head[:4]]
    head_size = width + struct.calcsize(form)
    while at + head_size <= size:
        found = head[at : at + head_size]
        if len(found) < head_size:
            file.seek(at)
            found = file.read(head_size)
        claim = struct.unpack_from(form, found, width)[0]
        yield found[:4], at + width, form, claim, at + head_size
        if claim < own:
            return
        at += head_size + claim - own
        at += -at % pad


class Flac(NamedTuple):
    """What a FLAC header says.

    Parameters
    ----------
    patch : Patch
        Makes the number of samples unknown, so that all are read.
    claim : int
        Samples per channel; 0 where it is left open.
    bits : int
        Of a sample.
    md5 : bytes
        Of all samples; empty where it is not given.
    """

    patch: Patch
    claim: int
    bits: int
    md5: bytes


def flac_header(file: BinaryIO) -> Flac | None:
    """Return what STREAMINFO says (RFC 9639, section 8.2); None for what is no FLAC."""
    at = skip_id3(file)
    file.seek(at)
    head = file.read(42)
    if head[:4] != b"fLaC" or len(head) < 42:
        return None
    words = int.from_bytes(head[18:26], "big")
    md5 = head[26:42]
    patch = Patch(at + 21, bytes([head[21] & 0xF0, 0, 0, 0, 0]))
    return Flac(patch, words & (1 << 36) - 1, (words >> 36 & 31) + 1, md5 if any(md5) else b"")


def skip_id3(file: BinaryIO) -> int:
    """Return where an ID3v2 tag at the start of a file ends, in bytes; 0 where there is none."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 127
    return 10 + length + (10 if head[5] & 16 else 0)


class OggLink(NamedTuple):
    """One of the streams of an Ogg file that follow each other: `start` and `stop` in bytes."""

    start: int
    stop: int


def ogg_links(file: BinaryIO, size: int) -> list[OggLink]:
    """Return the streams that follow each other in an Ogg file (RFC 3533, section 4), from its pages.

    Raises
    ------
    ValueError
        The last page is cut off, or is not the last of its stream; the check sum of a page is wrong: libsndfile would
        leave the page out.
    """
    starts: list[int] = []
    whole, first = False, False
    with mmap(file.fileno(), size, access=ACCESS_READ) as pages:
        at = pages.find(b"OggS\0")
        while at >= 0:
            head = pages[at : at + 27 + 255]
            table = 27 + head[26] if len(head) > 26 else size
            after = at + table + sum(head[27:table])
            if after > size:
                whole = False
                break
            if _ogg_crc(pages[at : at + 22] + bytes(4) + pages[at + 26 : after]) != head[22:26]:
                raise ValueError(f"damaged: the check sum of the Ogg page at byte {at} is wrong")
            if head[5] & 2 and not first:  # several streams may begin together: sound and a skeleton
                starts.append(at)
            first, whole = bool(head[5] & 2), bool(head[5] & 4)
            at = after if pages[after : after + 5] == b"OggS\0" else pages.find(b"OggS\0", after)
    if not whole:
        raise ValueError("truncated: the last Ogg page is cut off, or is not the last of its stream")
    return [OggLink(a, b) for a, b in zip(starts, [*starts[1:], size])]


def _ogg_crc(page: bytes) -> bytes:
    """Return the check sum of a page (RFC 3533, section 6), by zlib's, which has all bits the other way round."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return reflected.to_bytes(4, "big").translate(_REVERSED)


class Mp3Length(NamedTuple):
    """What the first frame of an MP3 file says.

    Parameters
    ----------
    samples : int
        Samples per channel, at least; 0 where nothing is said.
    size : int
        Bytes from `start` on; 0 where nothing is said.
    start : int
        Where the first frame is, in bytes.
    mark : bytes
        With which each frame begins.
    """

    samples: int
    size: int
    start: int
    mark: bytes


def mp3_length(file: BinaryIO) -> Mp3Length:
    """Return what a Xing, Info or VBRI header says; LAME's part of it says what the encoder added."""
    start = skip_id3(file)
    file.seek(start)
    frame = file.read(256)
    size = 1152 if len(frame) > 1 and frame[1] >> 3 & 3 == 3 else 576  # MPEG 1, or 2 and 2.5
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    number = long = added = 0
    if at >= 0 and len(frame) >= at + 144:
        flags, where = frame[at + 7], at + 8
        if flags & 1:
            number, where = int.from_bytes(frame[where : where + 4], "big"), where + 4
        if flags & 2:
            long, where = int.from_bytes(frame[where : where + 4], "big"), where + 4
        where += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
        words = int.from_bytes(frame[where + 21 : where + 24], "big")
        known = frame[where : where + 4] in (b"LAME", b"Lavf", b"Lavc")
        added = (words >> 12) + (words & 4095) if known else _MP3_ADDED
    elif frame[36:40] == b"VBRI":
        long, number = int.from_bytes(frame[46:50], "big"), int.from_bytes(frame[50:54], "big")
        added = _MP3_ADDED
    return Mp3Length(max(0, number * size - added), long, start, frame[:2])
