"""A deployment's own certificate authority: one role, one key, one certificate.

`create` writes an authority and the four roles' credentials; on three hosts, copy to each only ca.crt and its own role's pair, and keep
ca.key offline. TLS 1.3 with both sides authenticated; a certificate names its role as a DNS name. It does NOT revoke: to
withdraw a credential, create a new authority.
"""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mpc_inference.errors import ConfigInvalid

ROLES = ("dealer", "party0", "party1", "client")
_VALID = datetime.timedelta(days=825)


def host_name(role: str) -> str:
    """The DNS name that stands for a role."""
    return f"{role}.mpc.llmos"


def _write_private(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def create(directory: Path) -> None:
    """Write ca.crt, ca.key and ROLE.crt, ROLE.key for every role. Raises ConfigInvalid if an authority is there already."""
    if (directory / "ca.crt").exists():
        raise ConfigInvalid(f"{directory} holds certificates already: remove it to begin anew (every party then needs its new files)")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "LLMOS MPC authority")])

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + _VALID)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    root = (
        certificate(name, authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    (directory / "ca.crt").write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    _write_private(directory / "ca.key", _pem(authority))
    for role in ROLES:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)]), key)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host_name(role))]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        (directory / f"{role}.crt").write_bytes(builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write_private(directory / f"{role}.key", _pem(key))


def context(directory: Path, role: str, server: bool) -> ssl.SSLContext:
    """A TLS 1.3 context that shows `role`'s certificate and demands one of the same authority. Raises ConfigInvalid."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_cert_chain(directory / f"{role}.crt", directory / f"{role}.key")
        made.load_verify_locations(directory / "ca.crt")
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(f"certificates for {role} in {directory} cannot be used: create them with `llmos mpc init`") from error
    return made
