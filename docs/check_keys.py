"""Derives the test vectors of keys.md with Python's standard library alone.

Run: python3 docs/check_keys.py. It reads keys.md and fails if a value differs.
Public keys need Ed25519, which the standard library lacks; seeds do not.
"""

import base64
import hashlib
import hmac
import pathlib
import sys


def hkdf(salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
    prk = hmac.new(salt, ikm, hashlib.sha256).digest()
    out, block = b"", b""
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([len(out) // 32 + 1]), hashlib.sha256).digest()
        out += block
    return out[:length]


def derive(parent: bytes, *labels: bytes, length: int = 32) -> bytes:
    info = b"".join(len(label).to_bytes(2, "big") + label for label in labels)
    return hkdf(b"tenantry/1", parent, info, length)


def base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")


def crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def seed_text(seed: bytes) -> str:
    """An nkey seed: two prefix bytes (seed, user), the seed, a CRC-16."""
    prefix_seed, prefix_user = 18 << 3, 20 << 3
    raw = bytes([prefix_seed | prefix_user >> 5, (prefix_user & 31) << 3]) + seed
    return base32(raw + crc16(raw).to_bytes(2, "little"))


root = hashlib.sha256(b"tenantry development root key: published, not a secret").digest()
checksum = hashlib.sha256(b"tenantry root key checksum" + root).digest()[:4]
user = derive(derive(root, b"account", b"tenant", b"TENANT_A"), b"user", b"tenant_a_app")
system = derive(derive(root, b"account", b"system", b"SYS"), b"user", b"sys_admin")
one = (1).to_bytes(4, "big")
values = {
    "root key": "tenantry-root-1-" + base32(root + checksum).lower(),
    "root id": derive(root, b"root-id", length=8).hex(),
    "seed": seed_text(derive(user, b"nkey-seed", one)),
    "password": base32(derive(user, b"password", one, length=20)).lower(),
    "bcrypt salt": derive(user, b"bcrypt-salt", one, length=16).hex(),
    "system password": base32(derive(system, b"password", one, length=20)).lower(),
}
page = pathlib.Path(__file__).with_name("keys.md").read_text()
wrong = {name: value for name, value in values.items() if value not in page}
for name, value in wrong.items():
    print(f"keys.md lacks the {name}: {value}")
print(f"{len(values) - len(wrong)} passed, {len(wrong)} failed")
sys.exit(bool(wrong))
