"""What a proof is, byte by byte: the Fiat-Shamir transcript. Another implementation verifies from this page.

**Encodings.** Integers are big endian. A point is its 48 compressed bytes (ZCash form, BLS12-381 G1), a scalar 32 bytes
below r. `P(x, y, ..)` is every part behind its length in 4 bytes; `H(domain, x, ..)` is SHA-256 of P(domain, x, ..).

**Bases.** G_j = H2C("G" | j in 4 bytes), j = 1 .. m, and H = H2C("H"); H2C is hash_to_curve of RFC 9380, suite
BLS12381G1_XMD:SHA-256_SSWU_RO_, under the domain separation tag `group.DOMAIN`. The table's digest is
H("flock/zk/generators", G_1 .. G_m and H one after the other).

**Transcript.** A byte string T that only grows, by frames:

    absorb(label, x, y, ..)     01 | number of parts, label included, in 4 bytes | P(label, x, y, ..)
    challenges(label, n)        02 | n in 4 bytes | P(label)

After its frame, `challenges` gives the first 16 n bytes of SHAKE-256(T): n integers below 2^128. They are not put into
T.

**Proof of rows.** That the prover knows openings (W_k, s_k) of points C_1 .. C_N, C_k = sum_j W_kj G_j + s_k H, over a
transcript that has absorbed what is proven. Bases are B = (G_1, .., G_m, H); openings are vectors of m + 1 scalars.

    1. u random, m + 1 scalars; A = <u, B>; absorb("mask", A)
    2. rho_1 .. rho_N = challenges("rows", N); z = u + sum_k rho_k (W_k, s_k)
    3. While z is longer than 4: lower and upper halves z0 z1, B0 B1; L = <z0, B1>, R = <z1, B0>; absorb("fold", L, R);
       x = challenges("fold", 1); z = z0 + x z1; B = x B0 + B1
    4. The proof is A | L_1 | R_1 | L_2 | R_2 | .. | the remaining scalars of z.

The verifier sets P = A + sum_k rho_k C_k, and P = L + x P + x^2 R in each fold; in the end <z, B> must be P. At m =
1023 there are 8 folds and a proof has 48 + 8 * 96 + 4 * 32 = 944 bytes.

**Context.** ctx = H("flock/zk/context", M), M the shortest MessagePack of [chain, alliance, round, [model's root,
model's length], d, beacon, [selected keys], [m, fraction bits, most clients, most values, digest of the bases]], byte
strings as bin, everything else integers and arrays.

**Knowledge** (a client's, of its own commitment, white paper VI.H "Local Computation Phase"):

    absorb("domain", "flock/zk/knowledge/v1"); absorb("context", ctx)
    absorb("client", key, all C_k one after the other)

**Aggregation** (the aggregator's, of all commitments at once, "Aggregation and ZKP Generation Phase"):

    absorb("domain", "flock/zk/aggregation/v1"); absorb("context", ctx)
    absorb("clients", number of clients in 8 bytes, absent keys one after the other)
    for each client in order: absorb("client", key, all C_ik, signature, a_i in 8 bytes)
    absorb("product", all C_k one after the other)

Its rows are all rows of the first client, then those of the second, and so on.

**Signatures** are Ed25519: a client's over P("flock/zk/commitment", ctx, key, all C_ik), the aggregator's over
P("flock/zk/product", ctx, key, all C_k). Enc(w) is on the log as H("zkfl/encw/v1", ctx, K in 8 bytes, all C_k).
"""

import hashlib

from protocol.crypto import join_parts

CHALLENGE_BYTES = 16
_ABSORB, _CHALLENGE = b"\x01", b"\x02"


class Transcript:
    """Everything that was said in a proof so far; challenges are its hash, so they depend on all of it."""

    def __init__(self, domain: str) -> None:
        self._said = hashlib.shake_256()
        self.absorb("domain", domain.encode())

    def absorb(self, label: str, *parts: bytes) -> None:
        """Add parts under a label."""
        self._said.update(_ABSORB + (len(parts) + 1).to_bytes(4, "big") + join_parts(label, parts))

    def challenges(self, label: str, count: int) -> list[int]:
        """Return `count` integers below 2^128 that depend on everything so far, the label and count included."""
        self._said.update(_CHALLENGE + count.to_bytes(4, "big") + join_parts(label, ()))
        drawn = self._said.digest(CHALLENGE_BYTES * count)
        return [int.from_bytes(drawn[at : at + CHALLENGE_BYTES], "big") for at in range(0, len(drawn), CHALLENGE_BYTES)]

    def state(self) -> bytes:
        """Return 32 bytes that name everything so far; no challenge is made of them."""
        return self._said.digest(32)
