"""What answers a server that asks for a password, over HTTP and RTSP: Digest and Basic (RFC 7616, 7617)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from typing import Final

from perception.sources.source import SourceError

ALGORITHMS: Final = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
"""Of Digest, the strongest first, and what `hashlib` calls them; each with `-sess` too."""

_SCHEMES: Final = ("Digest", "Basic")
_TOKENS: Final = re.compile(r'([\w.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))|([A-Za-z][\w-]*)')


@dataclass(frozen=True)
class Challenge:
    """One way in which a server lets itself be answered."""

    scheme: str
    """As the server writes it."""
    values: dict[str, str]
    """Its parameters, by name in lower case."""

    @property
    def algorithm(self) -> str:
        """Of Digest, in capitals, without `-SESS`."""
        return self.values.get("algorithm", "MD5").upper().removesuffix("-SESS")

    @property
    def strength(self) -> int:
        """The lower the better; -1 where it cannot be answered."""
        if self.scheme.lower() == "basic":
            return len(ALGORITHMS)
        if self.scheme.lower() != "digest" or self.algorithm not in ALGORITHMS:
            return -1
        offered = self.qop
        return list(ALGORITHMS).index(self.algorithm) if not offered or {"auth", "auth-int"} & offered else -1

    @property
    def qop(self) -> set[str]:
        """Of Digest: `auth`, `auth-int`; nothing for the form that is older than both."""
        return {part.strip().lower() for part in self.values.get("qop", "").split(",")} - {""}

    @property
    def is_stale(self) -> bool:
        """Whether the password was right, and only the server's number has run out."""
        return self.values.get("stale", "").lower() == "true"

    def __str__(self) -> str:
        """Its scheme, and of Digest the algorithm, for a message."""
        return f"Digest {self.algorithm}" if self.scheme.lower() == "digest" else self.scheme[:20]


def challenges_of(headers: list[str]) -> list[Challenge]:
    """What `WWW-Authenticate` headers ask for: several may stand in one, values with quotes or without."""
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
    """The one to answer.

    Raises:
        SourceError: if there is none that can be answered.
    """
    known = [challenge for challenge in challenges if challenge.strength >= 0]
    if not known:
        asked = " or ".join(dict.fromkeys(map(str, challenges))) or "a way that it does not name"
        raise SourceError(f"asks for a password by {asked}; known are {' and '.join(_SCHEMES)}")
    return min(known, key=lambda challenge: challenge.strength)


def answer(challenge: Challenge, user: str, password: str, method: str, uri: str) -> str:
    """The value of `Authorization`.

    Args:
        challenge: one that `best_of` gives.
        user: as the server knows it.
        password: for this server and no other.
        method: of the request, which has no body.
        uri: as it stands in the request.
    """
    if challenge.scheme.lower() == "basic":
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    values = challenge.values
    realm, nonce, client, count = (
        values.get("realm", ""),
        values.get("nonce", ""),
        os.urandom(8).hex(),
        "00000001",
    )

    def digest(text: str) -> str:
        return hashlib.new(ALGORITHMS[challenge.algorithm], text.encode(), usedforsecurity=False).hexdigest()

    secret = digest(f"{user}:{realm}:{password}")
    if values.get("algorithm", "").upper().endswith("-SESS"):
        secret = digest(f"{secret}:{nonce}:{client}")
    qop = "auth" if "auth" in challenge.qop else "auth-int" if challenge.qop else ""
    request = digest(f"{method}:{uri}:{digest('')}" if qop == "auth-int" else f"{method}:{uri}")
    between = f"{nonce}:{count}:{client}:{qop}" if qop else nonce
    told = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
    told["response"] = digest(f"{secret}:{between}:{request}")
    if "opaque" in values:
        told["opaque"] = values["opaque"]
    if qop or values.get("algorithm", "").upper().endswith("-SESS"):
        told["cnonce"] = client
    fields = [f'{name}="{_escaped(value)}"' for name, value in told.items()]
    if "algorithm" in values:
        fields.append(f"algorithm={values['algorithm']}")
    if qop:
        fields += [f"qop={qop}", f"nc={count}"]
    return f"Digest {', '.join(fields)}"


def _escaped(value: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", re.sub(r"[\r\n]", "", value))
