"""Digest and Basic authentication for HTTP and RTSP (RFC 7616, RFC 7617)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from typing import Final

from perception.sources.source import SourceError

ALGORITHMS: Final = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
"""Digest algorithms, strongest first, with their `hashlib` names; each also as `-sess`."""

_TOKENS: Final = re.compile(r'([\w.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))|([A-Za-z][\w-]*)')


@dataclass(frozen=True)
class Challenge:
    """One authentication scheme that a server offers."""

    scheme: str
    """As the server writes it."""
    values: dict[str, str]
    """Parameters by lower-case name."""

    @property
    def algorithm(self) -> str:
        """Digest algorithm in upper case, without `-SESS`."""
        return self.values.get("algorithm", "MD5").upper().removesuffix("-SESS")

    @property
    def strength(self) -> int:
        """Rank, lower is better; -1 if it is not supported."""
        if self.scheme.lower() == "basic":
            return len(ALGORITHMS)
        if self.scheme.lower() != "digest" or self.algorithm not in ALGORITHMS:
            return -1
        offered = self.qop
        return list(ALGORITHMS).index(self.algorithm) if not offered or {"auth", "auth-int"} & offered else -1

    @property
    def qop(self) -> set[str]:
        """Digest quality of protection: `auth`, `auth-int`; empty for RFC 2069 servers."""
        return {part.strip().lower() for part in self.values.get("qop", "").split(",")} - {""}

    @property
    def is_stale(self) -> bool:
        """Whether only the nonce had expired; the password was right."""
        return self.values.get("stale", "").lower() == "true"

    def __str__(self) -> str:
        """The scheme and, for Digest, the algorithm, for messages."""
        return f"Digest {self.algorithm}" if self.scheme.lower() == "digest" else self.scheme[:20]


def challenges_of(headers: list[str]) -> list[Challenge]:
    """Parse `WWW-Authenticate` headers; one may hold several challenges, quoted or unquoted values."""
    found: list[Challenge] = []
    for header in headers:
        for name, quoted, plain, scheme in _TOKENS.findall(header):
            if scheme:
                found.append(Challenge(scheme, {}))
            elif found:
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
                found[-1].values.setdefault(name.lower(), value)
    return found


def best_of(challenges: list[Challenge]) -> Challenge:
    """The strongest supported challenge; raises SourceError if none is supported."""
    known = [challenge for challenge in challenges if challenge.strength >= 0]
    if not known:
        asked = " or ".join(dict.fromkeys(map(str, challenges))) or "a method that it does not name"
        raise SourceError(f"asks for a password by {asked}; Digest and Basic are supported")
    return min(known, key=lambda challenge: challenge.strength)


def answer(challenge: Challenge, user: str, password: str, method: str, uri: str) -> str:
    """The `Authorization` header for a challenge from `best_of` and a request without a body."""
    if challenge.scheme.lower() == "basic":
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    values = challenge.values
    is_session = values.get("algorithm", "").upper().endswith("-SESS")
    realm, nonce = values.get("realm", ""), values.get("nonce", "")
    client, count = os.urandom(8).hex(), "00000001"

    def digest(text: str) -> str:
        return hashlib.new(ALGORITHMS[challenge.algorithm], text.encode(), usedforsecurity=False).hexdigest()

    secret = digest(f"{user}:{realm}:{password}")
    if is_session:
        secret = digest(f"{secret}:{nonce}:{client}")
    qop = "auth" if "auth" in challenge.qop else "auth-int" if challenge.qop else ""
    request = digest(f"{method}:{uri}:{digest('')}" if qop == "auth-int" else f"{method}:{uri}")
    between = f"{nonce}:{count}:{client}:{qop}" if qop else nonce
    quoted = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
    quoted["response"] = digest(f"{secret}:{between}:{request}")
    if "opaque" in values:
        quoted["opaque"] = values["opaque"]
    if qop or is_session:
        quoted["cnonce"] = client
    fields = [f'{name}="{_escaped(value)}"' for name, value in quoted.items()]
    if "algorithm" in values:
        fields.append(f"algorithm={values['algorithm']}")
    if qop:
        fields += [f"qop={qop}", f"nc={count}"]
    return f"Digest {', '.join(fields)}"


def _escaped(value: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", re.sub(r"[\r\n]", "", value))
