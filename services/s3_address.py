"""Addresses of the form s3://bucket/key: parsing, and refusing everything that could mean something else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.errors import MalformedUriError

_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9]([a-z0-9\-]|\.(?!\.)){1,61}[a-z0-9]")
_FORBIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff\\?#|]|%2e|%2f|%5c", re.IGNORECASE
)
"""Control characters, halves of surrogate pairs and what is no character, which XML cannot carry either; what
URLs and shells split at; and percent-encoded dots and slashes."""
_MAX_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket and a key (which may be empty: the bucket itself). Keys have no leading or trailing slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> S3Address:
        """Read an address; what is not plainly `s3://bucket/key` is refused rather than repaired.

        Raises:
            MalformedUriError: another scheme, a bucket name S3 does not allow, an empty segment, ".", "..",
                control characters, backslashes, query strings, or percent-encoded separators.
        """
        scheme, separator, rest = uri.partition("://")
        if not separator or scheme.lower() != "s3":
            raise MalformedUriError(f"{uri!r} is not an s3:// address; images are given as s3://bucket/key")
        bucket, _, key = rest.partition("/")
        segments = key.removesuffix("/").split("/") if key else []
        if not _BUCKET.fullmatch(bucket):
            raise MalformedUriError(f"{uri!r} does not name a bucket (lower case letters, digits, '-', '.')")
        if _FORBIDDEN.search(key) or len(key.encode()) > _MAX_KEY_BYTES:
            raise MalformedUriError(f"{uri!r} has characters that a key may not have here, or is too long")
        if any(segment in {"", ".", ".."} for segment in segments):
            raise MalformedUriError(f"{uri!r} has an empty segment, '.' or '..' in its path")
        return cls(bucket, "/".join(segments))

    def within(self, prefix: S3Address) -> bool:
        """Whether this address is the prefix itself or lies under it, by whole segments."""
        if self.bucket != prefix.bucket:
            return False
        return not prefix.key or self.key == prefix.key or self.key.startswith(f"{prefix.key}/")

    def child(self, *segments: str) -> S3Address:
        """The address of something under this one.

        Raises:
            MalformedUriError: no segment is given, or one would lead elsewhere.
        """
        child = S3Address.parse("/".join((str(self), *segments)))
        if child == self:
            raise MalformedUriError(f"{segments} name nothing under {self}")
        return child

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"
