"""Making the next items in the background while the current one is used."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Item = TypeVar("Item")


def prefetched(
    make: Callable[[int], Item],
    items: Iterable[int],
    *,
    depth: int = 2,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Generator[Item, None, None]:
    """`make(item)` for each item in order, made ahead by one thread.

    One thread, because a raster handle must not be shared between threads; reading, decoding and stacking
    release the interpreter lock for most of their time.

    Args:
        make: called in the background thread only.
        items: arguments, in order.
        depth: items made ahead, at least 1.
        context: entered around each call in the background thread (GDAL's settings and credentials are
            thread-local).

    Yields:
        The items. An exception of `make` is raised here, at the item it belongs to. Closing the generator
        waits for the item in the making and drops the rest.
    """

    def make_one(item: int) -> Item:
        with context():
            return make(item)

    remaining = iter(items)
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
    try:
        waiting = deque(pool.submit(make_one, item) for item in islice(remaining, depth))
        while waiting:
            item = waiting.popleft().result()
            waiting.extend(pool.submit(make_one, item) for item in islice(remaining, 1))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
