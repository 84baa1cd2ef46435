"""Environment variables that decide how servers are reached: named when one is not."""

from __future__ import annotations

import os

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Certificates, in the words of the library requests: what the older of Google's SDKs honours, and many shells set."""


def named(*variables: str) -> str:
    """Those of these that are set, for a sentence."""
    found = [name for upper in variables for name in (upper, upper.lower()) if os.environ.get(name)]
    return f" ({', '.join(found)} {'is' if len(found) == 1 else 'are'} set)" if found else ""
