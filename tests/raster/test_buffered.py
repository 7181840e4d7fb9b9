from __future__ import annotations

import io

import numpy as np
import pytest
from memory_file import MemoryRemote

from icss_core.errors import ImageUnreadableError
from icss_core.raster.buffered import BufferedFile

CONTENT = np.random.default_rng(0).bytes(9 * 2**20)


def buffered(**options: object) -> tuple[BufferedFile, MemoryRemote, list[BaseException]]:
    errors: list[BaseException] = []
    remote = MemoryRemote(CONTENT, **options)  # type: ignore[arg-type] # passed on
    return BufferedFile(remote, errors), remote, errors


@pytest.mark.parametrize("longest", [40, 5_000, 300_000, 3_000_000])
def test_any_seeks_and_reads_give_what_a_file_gives(longest: int) -> None:
    file, _, errors = buffered()
    answer = io.BytesIO(CONTENT)
    rng = np.random.default_rng(longest)
    for _ in range(60):
        whence = int(rng.integers(3))
        low, high = ((0, len(CONTENT) + 9), (-answer.tell(), 99), (-len(CONTENT), 9))[whence]
        offset, length = int(rng.integers(low, high)), int(rng.integers(longest))
        assert file.seek(offset, whence) == answer.seek(offset, whence) == file.tell()
        assert file.read(length) == answer.read(length)
        assert file.tell() == answer.tell()
    file.seek(-100, 2)
    assert file.read() == CONTENT[-100:]
    assert not errors


def test_going_through_a_file_takes_few_requests() -> None:
    file, remote, _ = buffered()
    assert b"".join(iter(lambda: file.read(4096), b"")) == CONTENT
    assert len(remote.asked) < 16


def test_small_reads_at_two_places_by_turns_are_fetched_once() -> None:
    file, remote, _ = buffered()
    for step in range(200):
        for base in (2**20, 6 * 2**20):
            file.seek(base + 8 * step)
            assert file.read(8) == CONTENT[base + 8 * step : base + 8 * step + 8]
    assert len(remote.asked) == 2


def test_what_is_kept_of_a_file_has_a_limit() -> None:
    file, remote, _ = buffered()
    file.read(len(CONTENT))
    for start in range(0, len(CONTENT), 2**15):
        file.seek(start)
        file.read(10)
    before = len(remote.asked)
    file.seek(len(CONTENT) - 2**15)
    file.read(10)
    assert len(remote.asked) == before, "what was read last is there"
    file.seek(2**20)
    file.read(10)
    assert len(remote.asked) == before + 1, "what was read long ago is not"


def test_ranges_that_lie_together_are_one_request() -> None:
    file, remote, _ = buffered()
    strips = [(1000 + 500 * i, 500) for i in range(100)]
    far = [(8 * 2**20, 70), (5 * 2**20, 9)]
    ranges = [*far, *strips]
    got = file.get_byte_ranges([offset for offset, _ in ranges], [length for _, length in ranges])
    assert got == [CONTENT[offset : offset + length] for offset, length in ranges]
    assert remote.asked == [[(1000, 50_000), (5 * 2**20, 9), (8 * 2**20, 70)]]


def test_what_cannot_be_fetched_reads_as_the_end_and_is_kept_as_an_error() -> None:
    error = ImageUnreadableError("the store is away")
    file, _, errors = buffered(error=error, fails=1)
    file.seek(2**20)
    assert len(file.read(100)) == 100
    file.seek(5 * 2**20)
    assert file.read(100) == b""
    assert file.get_byte_ranges([7 * 2**20], [10]) == [bytes(10)]
    assert errors == [error, error]


def test_ranges_past_the_end_are_those_of_a_file_cut_off() -> None:
    file, remote, errors = buffered()
    assert file.get_byte_ranges([10, len(CONTENT) - 4], [4, 5]) == [bytes(4), bytes(5)]
    assert (
        str(errors[0]) == f"s3://here/image is cut off: it has {len(CONTENT)} bytes, not {len(CONTENT) + 1}"
    )
    assert not remote.asked
