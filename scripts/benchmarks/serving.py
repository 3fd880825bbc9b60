"""Requests a second of `t2igan serve`, beside what its generator alone draws.

    python scripts/benchmarks/serving.py --pretrained=shapes --seconds=10 --clients=32

The bound: images a second of the same compiled batches in this process, one after another, before
the server is started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time

import numpy as np

from t2igan.sampling import run as sampling


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pretrained", default="shapes")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=32)
    args = parser.parse_args()
    bound = _bound(args.pretrained, args.seconds / 2)
    words = ["-P", "-m", "t2igan", "serve", f"--pretrained={args.pretrained}", "--port=0"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split(" at ")[1].split()[0]
            found = asyncio.run(_ask(address, args.clients, args.seconds))
        finally:
            server.terminate()
    print(json.dumps(found | {"bound_images_a_second": round(bound, 1)}))


def _bound(name: str, seconds: float) -> float:
    run = sampling.load_pretrained(name)
    text = run.text(["a small red star on the left"] * 16)
    indices = np.arange(16, dtype=np.int32)
    run.generate(text, indices, 0)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run.generate(text, indices, 0)
        count += 16
    return count / (time.perf_counter() - start)


async def _ask(address: str, clients: int, seconds: float) -> dict[str, float]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    waits: list[float] = []
    end = 0.0

    async def visitor(number: int, once: bool = False) -> None:
        # By hand: a library's client would cost the same two cores more than the server does.
        reader, writer = await asyncio.open_connection(host, int(port))
        while once or time.perf_counter() < end:
            start = time.perf_counter()
            asked = {"caption": "a small red star on the left", "seed": len(waits) + number}
            body = json.dumps(asked).encode()
            head = f"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            assert lines[0].split()[1] == "200", lines[0]
            length = next(line for line in lines if line.startswith("content-length"))
            await reader.readexactly(int(length.split(":")[1]))
            if once:
                break
            waits.append(time.perf_counter() - start)
        writer.close()

    for _ in range(300):
        try:
            await visitor(0, once=True)
            break
        except OSError:
            await asyncio.sleep(0.1)
    end = time.perf_counter() + seconds
    await asyncio.gather(*map(visitor, range(clients)))
    return {
        "requests_a_second": round(len(waits) / seconds, 1),
        "clients": clients,
        "median_ms": round(1e3 * float(np.median(waits)), 1),
        "p99_ms": round(1e3 * float(np.quantile(waits, 0.99)), 1),
    }


if __name__ == "__main__":
    main()
