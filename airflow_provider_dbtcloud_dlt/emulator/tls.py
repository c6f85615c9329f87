"""Certificates, for clients that speak https only: one of the user's own, or one made on the spot."""

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import idna
import trustme
from cryptography import x509

LIFETIME = timedelta(days=365)
RENEWAL = timedelta(days=7)


class CertificateError(ValueError):
    """The certificate cannot be used; the message says which file and why."""


@dataclass(frozen=True)
class Certificate:
    """What a server needs in order to speak https.

    Attributes:
        chain: PEM file with the certificate, and those that link it to its authority.
        key: PEM file with its private key.
        ca: PEM file with the authority that clients have to trust, if it was made here.
    """

    chain: Path
    key: Path
    ca: Path | None = None


def own(chain: Path, key: Path) -> Certificate:
    """Return the user's own certificate.

    Raises:
        CertificateError: If the files cannot be read or do not belong together.
    """
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(chain, key)
    except ssl.SSLError as error:
        raise CertificateError(f"{chain} and {key} are no certificate and key: {error.reason}.") from error
    except OSError as error:
        raise CertificateError(f"{chain} or {key} cannot be read: {error.strerror}.") from error
    return Certificate(chain, key)


def made(folder: Path, hosts: Iterable[str] = ()) -> Certificate:
    """Return a certificate for this machine: that of an earlier start, or a new one.

    The authority's own key is never written: nobody can sign anything else with it.

    Args:
        folder: Where it is kept, so that clients need to be told of its authority only once.
        hosts: Names and addresses under which the server is reached, beside those of this machine.

    Raises:
        CertificateError: If no certificate can be made for one of `hosts`.
    """
    certificate = Certificate(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    asked_for = {_encoded(host) for host in set(hosts) - {"", "0.0.0.0", "::"}}  # noqa: S104
    names = sorted({"localhost", "127.0.0.1", "::1", *_own_name(), *asked_for})
    if not _serves(certificate, names):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = trustme.CA(organization_name="dbt Cloud emulator")
        issued = authority.issue_cert(*names, not_after=datetime.now(UTC) + LIFETIME)
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate.key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(certificate.key)
        for number, pem in enumerate(issued.cert_chain_pems):
            pem.write_to_path(certificate.chain, append=number > 0)
    return certificate


def _own_name() -> set[str]:
    """Return this machine's name; nothing if no certificate can hold it, as ``my_machine``."""
    with contextlib.suppress(CertificateError):
        return {_encoded(socket.gethostname())}
    return set()


def _encoded(host: str) -> str:
    """Return a name or address as it stands in a certificate."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise CertificateError(f"No certificate can be made for the host {host!r}: {error}.") from error


def _serves(certificate: Certificate, names: Iterable[str]) -> bool:
    """Whether all files are there, belong together, and are good for these names for a while."""
    with contextlib.suppress(OSError, ValueError, x509.ExtensionNotFound):
        own(certificate.chain, certificate.key)
        parsed = x509.load_pem_x509_certificate(certificate.chain.read_bytes())
        known = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        has = {str(one.value) for one in known}
        fresh = parsed.not_valid_after_utc - datetime.now(UTC) > RENEWAL
        return fresh and set(names) <= has and certificate.ca is not None and os.path.exists(certificate.ca)
    return False
