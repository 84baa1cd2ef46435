"""Why a connection to a member failed: words that follow the member's name."""

from __future__ import annotations

import ssl
from typing import Final

_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64  # X509_V_ERR_...
_PLAIN: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE")
REFUSES_OURS: Final = (
    'does not accept this node\'s certificate: "cert" in "engine"."tls" is missing, has expired, or is signed by an '
    "authority that etcd does not trust (its --trusted-ca-file)"
)
PERHAPS_OURS: Final = '; it may not accept this node\'s certificate ("engine"."tls")'
WANTS_PLAIN: Final = "breaks off the TLS handshake: does it want http:// ?"
WANTS_TLS: Final = "has closed the connection without an answer: does it want https:// ?"


def not_connected(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _not_trusted(error)
    if isinstance(error, ssl.SSLError):
        return WANTS_PLAIN if error.reason in _PLAIN else _refused(error)
    if isinstance(error, ConnectionError) and error.errno is None:  # asyncio's, of a handshake that was broken off
        return WANTS_PLAIN
    return f"cannot be reached: {error.strerror or error}"


def broken(error: Exception, secure: bool, used: bool) -> str:
    """A connection, perhaps by TLS, that was there. With TLS 1.3 a server checks the client's certificate only after
    the client takes the handshake for done; so that comes in place of the first answer, if it is not `used` yet."""
    if isinstance(error, ssl.SSLError):
        return _refused(error)
    if isinstance(error, OSError):
        return f"broke the connection: {error.strerror or type(error).__name__}" + (
            PERHAPS_OURS if secure and not used else ""
        )
    if isinstance(error, EOFError):
        return "has closed the connection" if secure or used else WANTS_TLS
    return "sends something that is not HTTP"


def _not_trusted(error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case code if code == _EXPIRED:
            return "has a certificate that has expired, or this machine's clock is wrong"
        case code if code == _NOT_YET:
            return "has a certificate that is not valid yet, or this machine's clock is wrong"
        case code if code in (_OTHER_NAME, _OTHER_ADDRESS):
            return f"has a certificate for another address ({error.verify_message})"
    return (
        f'has a certificate that "ca" in "engine"."tls" (or, without it, this system) does not vouch for '
        f"({error.verify_message})"
    )


def _refused(error: ssl.SSLError) -> str:
    """Of alerts, only those about a certificate have a meaning of their own here."""
    reason = error.reason or ""
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return REFUSES_OURS
    return f"broke off the connection: TLS, {reason.replace('_', ' ').lower() or error}"
