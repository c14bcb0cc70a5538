"""API keys: from the environment and a file, compared in constant time, never logged."""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

from inbol_ray.errors import ConfigError

KEYS_VARIABLE = "INBOL_API_KEYS"
MIN_KEY_CHARS = 16


class KeyRing:
    """Digests of the accepted keys. Empty means that only this machine may ask."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accepts(self, authorization: str | None, client_host: str | None) -> bool:
        """Whether a request may be served, from its `Authorization` header and the address it came from."""
        if not self:
            return is_loopback(client_host)
        scheme, _, key = (authorization or "").partition(" ")
        sent = _digest(key.strip() if scheme.lower() == "bearer" else "")
        # Digests have one length and every one is compared: the time says nothing about how near a guess was.
        return sum(hmac.compare_digest(sent, digest) for digest in self._digests) > 0


def load_keys(file: str | None) -> KeyRing:
    """Keys of INBOL_API_KEYS (separated by commas) and of `file` (one a line, # starts a comment).

    Raises ConfigError for a file that cannot be read and for a key that is too short to be secret.
    """
    keys = os.environ.get(KEYS_VARIABLE, "").split(",")
    if file:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"serving.api_keys_file: cannot read it ({type(error).__name__}); one key a line"
            ) from None
        keys += [line for line in lines if not line.startswith("#")]
    keys = [key.strip() for key in keys if key.strip()]
    if any(len(key) < MIN_KEY_CHARS for key in keys):
        raise ConfigError(f"an API key has less than {MIN_KEY_CHARS} characters; make one with: openssl rand -hex 24")
    return KeyRing(keys)


def is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
