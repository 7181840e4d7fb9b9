from __future__ import annotations

import itertools

import pytest

from services.errors import MalformedUriError
from services.s3_address import S3Address


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://icss/data/x.tif", "icss", "data/x.tif"),
        ("s3://icss", "icss", ""),
        ("s3://icss/", "icss", ""),
        ("s3://icss/data/", "icss", "data"),
        ("S3://icss/data", "icss", "data"),
        ("s3://my-bucket.eu-1/Käse & Brot/a b (1)+~é.tif", "my-bucket.eu-1", "Käse & Brot/a b (1)+~é.tif"),
        ("s3://icss/.hidden/..x/x..", "icss", ".hidden/..x/x.."),
        ("s3://icss/" + "é" * 512, "icss", "é" * 512),
    ],
)
def test_bucket_and_key_are_taken_apart_and_put_together(uri: str, bucket: str, key: str) -> None:
    address = S3Address.parse(uri)
    assert (address.bucket, address.key) == (bucket, key)
    assert S3Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3:",
        "s3:/icss/x",
        "s3://",
        "s3:///x",
        "icss/x",
        "/vsis3/icss/x.tif",
        "/vsicurl/http://127.0.0.1/x.tif",
        "http://icss/x",
        "file:///etc/passwd",
        "s3://ab",  # too short a bucket
        "s3://UPPER/x",
        "s3://under_score/x",
        "s3://-dash/x",
        "s3://a..b/x",
        "s3://127.0.0.1/x",
        "s3://user@icss/x",
        "s3://icss:9000/x",
        "s3://" + "a" * 64 + "/x",
        "s3://icss//",
        "s3://icss//x",
        "s3://icss/x//y",
        "s3://icss/x//",
        "s3://icss/./x",
        "s3://icss/x/..",
        "s3://icss/../other/x",
        "s3://icss/%2E%2e/x",
        "s3://icss/a%2fb",
        "s3://icss/a%5Cb",
        "s3://icss/a\\b",
        "s3://icss/a?versionId=1",
        "s3://icss/a#b",
        "s3://icss/a|b",
        "s3://icss/a\nb",
        "s3://icss/a\0b",
        "s3://icss/a\x85b",
        "s3://icss/a\u2028b",
        "s3://icss/a\ud800b",
        "s3://icss/a\uffffb",
        "s3://icss/" + "é" * 513,
    ],
)
def test_anything_else_is_refused_and_named(uri: str) -> None:
    with pytest.raises(MalformedUriError) as caught:
        S3Address.parse(uri)
    assert repr(uri) in str(caught.value)


def test_no_text_leads_out_of_a_prefix() -> None:
    prefix = S3Address("icss", "data")
    pieces = ("", ".", "..", "/", "/data", "a", "%2e", "\\", "\n", "é")
    for text in map("".join, itertools.product(pieces, repeat=4)):
        try:
            address = S3Address.parse(f"{prefix}{text}")
        except MalformedUriError:
            continue
        segments = address.key.split("/")
        assert address.within(prefix) == (segments[0] == "data")
        assert not {"", ".", ".."} & set(segments)
        assert str(address) == f"{prefix}{text}".removesuffix("/")


@pytest.mark.parametrize(
    ("uri", "inside"),
    [
        ("s3://icss/data", True),
        ("s3://icss/data/x", True),
        ("s3://icss/database", False),
        ("s3://icss", False),
        ("s3://other/data/x", False),
    ],
)
def test_within_goes_by_whole_segments(uri: str, *, inside: bool) -> None:
    assert S3Address.parse(uri).within(S3Address.parse("s3://icss/data")) is inside
    assert S3Address.parse("s3://icss/x").within(S3Address.parse("s3://icss"))


def test_a_child_lies_under_its_parent() -> None:
    parent = S3Address.parse("s3://icss/data")
    assert str(parent.child("a", "b.tif")) == "s3://icss/data/a/b.tif"
    assert str(S3Address.parse("s3://icss").child("a")) == "s3://icss/a"
    for segments in ((), ("",), ("..",), ("a", "..", ".."), ("/a",), ("a/../../b",)):
        with pytest.raises(MalformedUriError):
            parent.child(*segments)
