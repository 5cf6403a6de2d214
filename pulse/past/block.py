"""A block of the recorded past as bytes: at most 60 s of one symbol, readable without any other block. Pure.

    prefix    32 bytes: magic, version of the format, lengths, checksums
    meta      JSON: which symbol and time, what came before, states, incidents, counts
    keyframe  the state of the market before the first row (`state`)
    rows      what the market was given, in order (`events`)

Prefix, meta and the rest have a checksum each, so that an index reads the first two alone. A block that differs in any
bit from what was written is refused.
"""

import struct
import zlib
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, get_type_hints

import orjson

from pulse.errors import BadBlock

MAGIC = b"PLSB"
VERSION = 1
"""Of the format of blocks; another one is not read."""
PREFIX = struct.Struct("<4sHxxIIIIII")
"""Magic, version, lengths of meta, keyframe and rows, checksums of meta, of keyframe and rows, of these bytes."""
CHECKED = PREFIX.size - 4
"""The bytes of the prefix that its own checksum covers."""
META_BYTES_MAX = 2**20
BODY_BYTES_MAX = 32 * 2**20
"""Compressed; a busy minute has 0.2 MB."""
TIME_MS_MAX = 10**13


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """What is known of a block without reading it. Times are ms since the epoch by the recorder's clock.

    `after` is why nothing is known of the time before it, empty where block `number` - 1 of the same `run` ends where
    it begins; `ends` is why nothing follows it, empty where something should. `flaw` is empty where the block, read and
    played, showed at its end the book and the view that were live then; else it says what differed, and the block shows
    nothing. `states` has each state of the book from its beginning on: since when, which, and why; `incidents` those
    found in it: time, cause, reason, update id.
    """

    symbol: str
    venue: str
    run: str
    number: int
    from_ms: int
    to_ms: int
    clock_ms: int  # the process's clock at `from_ms`, as rows have it
    last_update_id: int  # of the book at its end
    rows: int
    after: str
    ends: str
    flaw: str = ""
    states: list[list[Any]] = field(default_factory=list)
    incidents: list[list[Any]] = field(default_factory=list)
    proof: dict[str, Any] = field(default_factory=dict)  # the counts of all cross-checks and audits at its end

    def wall_ms(self, at_ms: int) -> int:
        """Return the time since the epoch of a row."""
        return at_ms - self.clock_ms + self.from_ms

    def row_ms(self, wall_ms: int) -> int:
        """Return the time of a row at this time since the epoch."""
        return wall_ms - self.from_ms + self.clock_ms

    def continues(self, other: "BlockMeta") -> bool:
        """Return whether this block begins where another one ends."""
        return not self.after and self.run == other.run and self.number == other.number + 1


class Block(NamedTuple):
    """One block: its meta, and its keyframe and rows still compressed."""

    meta: BlockMeta
    keyframe: bytes
    rows: bytes


class Prefix(NamedTuple):
    """The beginning of a block: the lengths and checksums of its parts."""

    meta_bytes: int
    keyframe_bytes: int
    rows_bytes: int
    meta_sum: int
    body_sum: int

    @property
    def size(self) -> int:
        """Bytes of the whole block, this prefix included."""
        return PREFIX.size + self.meta_bytes + self.keyframe_bytes + self.rows_bytes


def encode_block(block: Block) -> bytes:
    """Return the bytes of a block."""
    meta = orjson.dumps(asdict(block.meta))
    body_sum = zlib.crc32(block.rows, zlib.crc32(block.keyframe))
    head = PREFIX.pack(
        MAGIC, VERSION, len(meta), len(block.keyframe), len(block.rows), zlib.crc32(meta), body_sum, 0
    )[:CHECKED]  # fmt: skip
    return b"".join((head, struct.pack("<I", zlib.crc32(head)), meta, block.keyframe, block.rows))


def decode_prefix(data: bytes) -> Prefix:
    """Return the prefix that these bytes begin with. Raises BadBlock."""
    if len(data) < PREFIX.size:
        raise BadBlock(f"it ends after {len(data)} bytes, within its prefix")
    magic, version, meta_bytes, keyframe_bytes, rows_bytes, meta_sum, body_sum, own_sum = PREFIX.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[:CHECKED]) != own_sum:
        raise BadBlock("its prefix is not one of a block, or damaged")
    if version != VERSION:
        raise BadBlock(f"its format has version {version}; this program reads {VERSION}")
    prefix = Prefix(meta_bytes, keyframe_bytes, rows_bytes, meta_sum, body_sum)
    if meta_bytes > META_BYTES_MAX or keyframe_bytes + rows_bytes > BODY_BYTES_MAX:
        raise BadBlock("it is longer than a block can be")
    return prefix


def decode_meta(prefix: Prefix, data: bytes) -> BlockMeta:
    """Return the meta that follows a prefix. Raises BadBlock."""
    if len(data) != prefix.meta_bytes or zlib.crc32(data) != prefix.meta_sum:
        raise BadBlock("its description is damaged")
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as fault:
        raise BadBlock("its description is no JSON") from fault
    if not isinstance(values, dict) or values.keys() != META_TYPES.keys():
        raise BadBlock("its description has not its fields")
    if not all(type(values[name]) is kind for name, kind in META_TYPES.items()):
        raise BadBlock("its description has a field of a wrong type")
    meta = BlockMeta(**values)
    if not 0 <= meta.from_ms <= meta.to_ms <= TIME_MS_MAX:
        raise BadBlock("its times are not in order")
    return meta


def decode_block(data: bytes) -> Block:
    """Return the block that these bytes are, no more and no less. Raises BadBlock."""
    prefix = decode_prefix(data)
    if len(data) != prefix.size:
        raise BadBlock(f"it has {len(data)} bytes, not the {prefix.size} of its prefix")
    body_at = PREFIX.size + prefix.meta_bytes
    meta = decode_meta(prefix, data[PREFIX.size : body_at])
    if zlib.crc32(data[body_at:]) != prefix.body_sum:
        raise BadBlock("its keyframe or its rows are damaged")
    rows_at = body_at + prefix.keyframe_bytes
    return Block(meta, data[body_at:rows_at], data[rows_at:])


META_TYPES = {spec.name: getattr(kind, "__origin__", kind) for spec, kind in zip(
    fields(BlockMeta), get_type_hints(BlockMeta).values(), strict=True
)}  # fmt: skip
"""The type of each field of the description, as JSON has it."""
