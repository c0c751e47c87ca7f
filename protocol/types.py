"""The scalar types and the base record that every protocol record is made of.

Ranges live in the types, so that decoding refuses a value out of range and names its path. No behaviour lives here.
"""

from typing import Annotated, dataclass_transform

from msgspec import Meta, Struct

MAX_INTEGER = 2**63 - 1
UNITS_PER_FML = 10**9
MILLION = 1_000_000
SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MEBIBYTE = 2**20
GIBIBYTE = 2**30

# A position in the log; the genesis state has height 0.
Height = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
# An attempt of the replicas to agree on one height.
Round = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Base units of FML; 1 FML = 10^9 units.
Amount = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
# A sum of amounts over the epochs of a task, which 64 bits may not hold: 16 bytes, big endian.
WideAmount = Annotated[bytes, Meta(min_length=16, max_length=16)]
# Milliseconds since the Unix epoch, as stamped by block proposers.
TimeMs = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
# Any other count, serial number or index.
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
# A metric mapped to [0, 1], in millionths.
Score = Annotated[int, Meta(ge=0, le=1_000_000)]

# An account: its Ed25519 public key.
Address = Annotated[bytes, Meta(min_length=32, max_length=32)]
# The output of `crypto.hash_parts`.
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
# Any other 32 bytes: public keys, secret keys, salts, points, tags.
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
# An Ed25519 signature.
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
# A short human-readable text on the log.
Name = Annotated[str, Meta(min_length=1, max_length=64)]

# A part of a whole, in millionths.
Ratio = Annotated[int, Meta(ge=0, le=MILLION)]
# The exponent of a stake, in millionths: 0 ignores the stake, 1,000,000 counts it as it is.
Exponent = Annotated[int, Meta(ge=0, le=2 * MILLION)]
# An amount that must not be zero, in units.
PositiveAmount = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
# The longest time a phase of a task stays open.
PhaseMs = Annotated[int, Meta(ge=SECOND_MS, le=30 * DAY_MS)]
# A time between messages or blocks.
TimeoutMs = Annotated[int, Meta(ge=1, le=HOUR_MS)]
# A time that stakes or evidence live.
PeriodMs = Annotated[int, Meta(ge=SECOND_MS, le=365 * DAY_MS)]


@dataclass_transform(frozen_default=True)
class Record(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of every record: immutable, and an array on the wire, so that field names cost nothing and cannot vary."""
