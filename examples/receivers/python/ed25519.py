"""Verification of Ed25519 signatures (RFC 8032, section 5.1.7) without any package.

It takes a few milliseconds, and time that depends on its input, which is all public. It must never sign. Where you can
install packages, cryptography does the same:

    Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
"""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def verify(key, signed, signature):
    """Tell whether the signature (64 bytes) over signed is by the owner of the public key (32 bytes)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = decode(key), decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + signed).digest(), "little") % ORDER
    left, right = multiply(s, BASE), add(r, multiply(h, a))  # s·B = R + h·A
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def decode(b):
    """A point from its 32 bytes, as (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z; None when there is none."""
    y, odd = int.from_bytes(b, "little") & (1 << 255) - 1, b[31] >> 7
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != square or x == 0 and odd:
        return None
    x = P - x if x & 1 != odd else x
    return x, y, 1, x * y % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(n, p):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, p)
        p, n = add(p, p), n >> 1
    return result


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
