"""TLS settings: certificates are verified unless the user disables that."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from perception.sources.source import SourceError
from perception.system.plugins import Checked

_NO_ISSUER: Final = (18, 19, 20, 21)  # OpenSSL's X509_V_ERR_…: self-signed, or from an unknown issuer
_OF_THE_CLOCK: Final = (9, 10)  # not yet valid, expired


@dataclass(frozen=True)
class TlsSettings:
    """How the certificates of `https://`, `rtsps://` and `mqtts://` servers are verified."""

    ca: str | None = None
    """PEM file of trusted certificate authorities, instead of the system's."""
    is_insecure: bool = False
    """Accept any certificate: whoever answers can send pictures and receives the password."""

    def context(self) -> ssl.SSLContext:
        """For Python's sockets; raises SourceError if the CA file cannot be read."""
        if self.is_insecure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or "it holds no certificate"
            raise SourceError(f"{self.ca}: cannot be read as certificates in PEM: {reason}") from None

    def libav_options(self) -> dict[str, str]:
        """Options for libav, which by default verifies nothing and may have no built-in authorities.

        Raises:
            SourceError: if the CA file cannot be read or the system has none.
        """
        if self.is_insecure:
            return {"tls_verify": "0"}
        file = self.ca or ssl.get_default_verify_paths().cafile
        if file is None:
            raise SourceError(
                "no file of trusted certificate authorities on this system; give one by --tls-ca FILE"
            )
        self.context()  # libav does not report an unreadable file
        return {"tls_verify": "1", "ca_file": str(Path(file).absolute())}


@dataclass(frozen=True)
class CertificateSettings(Checked):
    """Certificates of servers."""

    tls_ca: Annotated[str, "FILE"] | None = None
    """PEM file of the certificate authorities that https://, rtsps:// and mqtts:// trust, in place of the
    system's."""
    tls_insecure: bool = False
    """Accept any certificate: whoever answers gets the password and can send pictures."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.tls_ca and self.tls_insecure:
            raise ValueError("tls_insecure accepts any certificate, tls_ca only some; leave one of them out")
        super().__post_init__()

    @property
    def tls(self) -> TlsSettings:
        """How certificates are verified."""
        return TlsSettings(self.tls_ca, self.tls_insecure)


def untrusted(error: ssl.SSLCertVerificationError) -> str:
    """The message for a certificate that failed verification."""
    hint = "; give the file of its authority as --tls-ca FILE" if error.verify_code in _NO_ISSUER else ""
    if error.verify_code in _OF_THE_CLOCK:
        hint = "; is the clock of this machine right?"
    return f"its certificate is not trusted: {error.verify_message.rstrip('.')}{hint}"
