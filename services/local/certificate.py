"""A certificate of one stack's own, for connections between its processes and from nobody else."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_DAYS: Final = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Files of a certificate for this machine's loopback address, and of its key, in PEM.

    It signs itself, and who trusts it trusts no other: only who can read the key gets a connection.
    """

    path: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate and its key in a folder that others may not enter."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "icss local stack")])
    loopback = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks may be set back
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(loopback), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(path=folder / "certificate.pem", key=folder / "key.pem")
    made.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made
