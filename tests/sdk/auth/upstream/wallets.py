"""Wallets for the tests: keys, addresses, and signatures of messages as wallets make them.

Ethereum's curve and hash are in no library that the tests have: both are written here from their definitions (SEC 2,
the Keccak reference), for tests alone: nothing is constant in time.
"""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["EthereumWallet", "SolanaWallet", "keccak_256"]

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int] | None


class SolanaWallet:
    """An Ed25519 key; its address is the public key in base58."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.address = _base58(self._key.public_key().public_bytes_raw())

    def sign(self, message: str) -> bytes:
        """Sign the message as it is."""
        return self._key.sign(message.encode())


class EthereumWallet:
    """A secp256k1 key; its address is the end of the public key's hash."""

    def __init__(self) -> None:
        self._key = secrets.randbelow(N - 1) + 1
        point = _times(self._key, G)
        assert point is not None
        self.address = "0x" + keccak_256(b"".join(one.to_bytes(32) for one in point))[-20:].hex()

    def sign(self, message: str) -> bytes:
        """Sign as ``personal_sign`` does (EIP-191): r, s and the parity, 65 bytes."""
        text = message.encode()
        digest = int.from_bytes(keccak_256(b"\x19Ethereum Signed Message:\n%d" % len(text) + text))
        nonce = secrets.randbelow(N - 1) + 1
        point = _times(nonce, G)
        assert point is not None
        r = point[0] % N
        s = pow(nonce, -1, N) * (digest + r * self._key) % N
        parity = point[1] & 1
        if s > N // 2:
            s, parity = N - s, parity ^ 1
        return r.to_bytes(32) + s.to_bytes(32) + bytes([27 + parity])


def _plus(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def _times(number: int, point: Point) -> Point:
    result: Point = None
    while number:
        if number & 1:
            result = _plus(result, point)
        point = _plus(point, point)
        number >>= 1
    return result


def _base58(value: bytes) -> str:
    number, digits = int.from_bytes(value), ""
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    return "1" * (len(value) - len(value.lstrip(b"\0"))) + digits


def keccak_256(data: bytes) -> bytes:
    """Hash as Ethereum does: Keccak with its first padding, not SHA-3's."""
    rate = 136
    padded = bytearray(data) + b"\x01" + bytes(-(len(data) + 1) % rate)
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), rate):
        for i in range(rate // 8):
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        lanes = _permuted(lanes)
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


def _turned(lane: int, by: int) -> int:
    by %= 64
    return ((lane << by) | (lane >> (64 - by))) & (2**64 - 1)


def _permuted(a: list[list[int]]) -> list[list[int]]:
    register = 1
    for _ in range(24):
        columns = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        mixed = [columns[(x + 4) % 5] ^ _turned(columns[(x + 1) % 5], 1) for x in range(5)]
        a = [[a[x][y] ^ mixed[x] for y in range(5)] for x in range(5)]
        x, y, lane = 1, 0, a[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            lane, a[x][y] = a[x][y], _turned(lane, (step + 1) * (step + 2) // 2)
        for y in range(5):
            row = [a[x][y] for x in range(5)]
            for x in range(5):
                a[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5])
        for bit in range(7):
            register = ((register << 1) ^ ((register >> 7) * 0x71)) % 256
            if register & 2:
                a[0][0] ^= 1 << ((1 << bit) - 1)
    return a
