"""How the server's front door collects a body."""

import asyncio
import tracemalloc

from webhook import asgi


def test_a_body_takes_the_memory_of_its_bytes_however_small_its_chunks():
    count = 100_000

    async def receive():
        nonlocal count
        count -= 1
        return {"type": "http.request", "body": b"%02d" % (count % 100), "more_body": count > 0}

    tracemalloc.start()
    body = asyncio.run(asgi._read(receive, declared=0, limit=1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(body) == 200_000
    assert peak < 1_000_000
