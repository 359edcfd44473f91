"""Load on the service: throughput against `predict` in the same run, latency, memory.

    python -m benchmarks.serve_load BUNDLE PHOTOS [--seconds 20] [--rounds 3] [--minutes 10]

In each round, on the same photos and cores:
1. photos a second of `chajong predict` in this process, from files to a file of answers;
2. photos a second of the service, a process of its own, asked over loopback by 16 clients of this
   one, each of which asks again as soon as it is answered;
3. latency when 16 clients together ask at half of that rate, at moments drawn by chance (Poisson),
   counted from the moment drawn, so that waiting for a free client counts too.
The clients are threads that write the bytes of HTTP themselves, once made, for they share the cores
with the service; the share of processor time that they took is printed. With `--minutes`, good
and bad requests are mixed for so long, and the service's memory after a tenth of the time is
compared with that at the end.
"""

import argparse
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Queue
from statistics import median, quantiles
from urllib.parse import urlsplit

from benchmarks.serve_fuzz import broken, sound
from chajong.bundle import Bundle
from chajong.photos.sources import open_source
from chajong.serving.engine import Engine
from chajong.serving.predict import predict

NUM_CLIENTS = 16
LEAST_SHARE, MOST_SPREAD, MOST_GROWTH = 0.8, 4.0, 1.05


@dataclass(frozen=True)
class Load:
    """What clients saw."""

    rate: float
    latencies_s: list[float]
    statuses: Counter[int]
    client_cores: float

    @property
    def spread(self) -> float:
        """The 99th percentile over the median."""
        return quantiles(self.latencies_s, n=100)[98] / median(self.latencies_s)


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._line = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> int:
        self._line.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._line.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self._line.recv(65536)
        return int(head[9:12])

    def close(self) -> None:
        self._line.close()


def request_of(photo: bytes) -> bytes:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    return head.encode() + photo


def load(port: int, requests: Sequence[bytes], seconds: float, rate: float | None = None) -> Load:
    """Ask for so long; at a mean rate, or as fast as answers come."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    due: Queue[tuple[float, bytes] | None] = Queue()
    clients = [Client(port) for _ in range(NUM_CLIENTS)]
    start, used = time.perf_counter(), time.process_time()
    end = start + seconds

    def greedy(place: int, client: Client) -> None:
        at = place
        while (begun := time.perf_counter()) < end:
            statuses[client.ask(requests[at % len(requests)])] += 1
            latencies.append(time.perf_counter() - begun)
            at += NUM_CLIENTS

    def patient(_: int, client: Client) -> None:
        while (asked := due.get()) is not None:
            when, request = asked
            statuses[client.ask(request)] += 1
            latencies.append(time.perf_counter() - when)

    run: Callable[[int, Client], None] = greedy if rate is None else patient
    threads = [threading.Thread(target=run, args=each) for each in enumerate(clients)]
    for thread in threads:
        thread.start()
    if rate is not None:
        _hand_out(due, requests, end, rate)
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    for client in clients:
        client.close()
    cores = (time.process_time() - used) / took
    return Load(len(latencies) / took, latencies, statuses, cores)


def _hand_out(
    due: "Queue[tuple[float, bytes] | None]", requests: Sequence[bytes], end: float, rate: float
) -> None:
    chance, when, at = random.Random(0), time.perf_counter(), 0
    while (when := when + chance.expovariate(rate)) < end:
        time.sleep(max(0.0, when - time.perf_counter()))
        due.put((when, requests[at % len(requests)]))
        at += 1
    for _ in range(NUM_CLIENTS):
        due.put(None)


@contextmanager
def serving(bundle: Path, *way: str | None) -> Iterator[tuple[int, int]]:
    """A service of its own process: its port and number."""
    command = [sys.executable, "-m", "chajong", "serve", str(bundle), "--port", "0"]
    for name, value in zip(("--runtime", "--precision"), way, strict=True):
        command += [] if value is None else [name, value]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        try:
            yield urlsplit(service.stdout.readline().split()[0]).port or 0, service.pid
        finally:
            service.terminate()
            assert service.wait() == 0


def alone(engine: Engine, photos: str, seconds: float) -> float:
    """Photos a second of `predict`, in this process."""
    num, start = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        while time.perf_counter() - start < seconds:
            out = Path(folder) / f"{num}.parquet"
            num += predict(engine, open_source(photos), out).num_photos
    return num / (time.perf_counter() - start)


def memory_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def soak(port: int, process: int, photos: Sequence[bytes], minutes: float) -> bool:
    """Good and bad requests for so long; whether memory stayed and nothing failed."""
    bad = list(broken(sound(photos[:20]), 400))
    mixed = [request_of(each) for each in [*photos, *bad]]
    random.Random(0).shuffle(mixed)
    settled, statuses = 0.0, Counter[int]()
    for tenth in range(10):
        found = load(port, mixed, minutes * 6)
        statuses += found.statuses
        now = memory_mib(process)
        settled = settled or now
        minute = (tenth + 1) / 10 * minutes
        print(f"  {minute:5.1f} min: {now:,.0f} MiB, {found.rate:.0f} requests/s")
    growth = now / settled
    print(f"  memory x {growth:.3f} (at most {MOST_GROWTH}); {dict(sorted(statuses.items()))}")
    return growth <= MOST_GROWTH and set(statuses) <= {200, 415, 422}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos")
    parser.add_argument("--runtime", help="as `chajong serve` chooses it, if none")
    parser.add_argument("--precision", help="as `chajong serve` chooses it, if none")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0)
    given = parser.parse_args()
    way = given.runtime, given.precision
    photos = [asked.read() for asked in islice(open_source(given.photos).photos(), 2000)]
    requests = [request_of(photo) for photo in photos]
    engine = Engine.open(Bundle.load(given.bundle), *way)
    print(f"{engine.proof.runtime} {engine.proof.precision}")
    shares, spreads, fine = [], [], True
    for _ in range(given.rounds):
        bound = alone(engine, given.photos, given.seconds)
        with serving(given.bundle, *way) as (port, process):
            load(port, requests, min(2, given.seconds))  # warm
            full = load(port, requests, given.seconds)
            half = load(port, requests, given.seconds, full.rate / 2)
        shares.append(full.rate / bound)
        spreads.append(half.spread)
        fine &= set(full.statuses) | set(half.statuses) == {200}
        print(
            f"predict {bound:.0f} photos/s, service {full.rate:.0f} ({shares[-1]:.2f}), clients "
            f"took {full.client_cores:.2f} cores; at {half.rate:.0f}/s median "
            f"{median(half.latencies_s) * 1e3:.1f} ms, p99 / median {spreads[-1]:.1f}"
        )
    print(f"share of predict: {median(shares):.2f} (at least {LEAST_SHARE})")
    print(f"p99 / median at half load: {median(spreads):.1f} (at most {MOST_SPREAD})")
    fine &= median(shares) >= LEAST_SHARE and median(spreads) <= MOST_SPREAD
    if given.minutes:
        with serving(given.bundle, *way) as (port, process):
            fine &= soak(port, process, photos, given.minutes)
    print("holds" if fine else "does not hold")
    raise SystemExit(not fine)


if __name__ == "__main__":
    main()
