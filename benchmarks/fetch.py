"""Throughput and memory of fetching photos, beside a plain thread-pool of `requests`.

    python benchmarks/fetch.py [--photos 5000]

Both fetch the same photos from the same local server, each in a process of its own. The plain one
writes what it is sent; ours also checks addresses, decodes every photo, hashes it and keeps the
manifest. `--img2dataset PROGRAM` runs that as well, with one process and as many threads, no
resizing and files as output; its time and memory include its start.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from arguments import positive
from PIL import Image

JOBS = 16

PLAIN = """if True:
    import json, sys, threading, time
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    import requests
    address, folder, (count, jobs) = sys.argv[1], Path(sys.argv[2]), map(int, sys.argv[3:])
    start = time.perf_counter()
    own = threading.local()
    def fetch(number):
        if not hasattr(own, "session"):
            own.session = requests.Session()
        answer = own.session.get(f"{address}/{number}.jpg", timeout=20)
        answer.raise_for_status()
        (folder / f"{number}.jpg").write_bytes(answer.content)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(fetch, range(count)))
    seconds = time.perf_counter() - start
    high = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps({"seconds": seconds, "peak_mb": int(high) / 1024}))
"""

OURS = """if True:
    import json, sys, time
    from pathlib import Path
    import PIL.JpegImagePlugin
    from pscli.fetch.photos import fetch_photos
    from pscli.fetch.places import Place, Wanted
    from pscli.fetch.web import Limits, Web
    address, folder, (count, jobs) = sys.argv[1], Path(sys.argv[2]), map(int, sys.argv[3:])
    start = time.perf_counter()
    urls = [f"{address}/{number}.jpg" for number in range(count)]
    photos = [Wanted(f"photos/{i}.jpg", (Place(u),), (u,)) for i, u in enumerate(urls)]
    web = Web(Limits(jobs=jobs, per_host=jobs), allow_private=True)
    entries = fetch_photos(photos, folder, web, lambda count: None)
    seconds = time.perf_counter() - start
    assert all(entry.status == "ok" for entry in entries.values())
    high = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps({"seconds": seconds, "peak_mb": int(high) / 1024}))
"""


def serve(port: multiprocessing.Queue[int]) -> None:
    """Answers every request with one of a hundred photos of 256×256 pixels."""
    bodies = []
    for seed in range(100):
        small = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        data = io.BytesIO()
        Image.fromarray(small).resize((256, 256)).save(data, "JPEG", quality=90)
        bodies.append(data.getvalue())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                number = int(head.split(b"/", 2)[1].split(b".")[0])
                body = bodies[number % len(bodies)]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def img2dataset(program: Path, address: str, count: int) -> dict[str, object]:
    """Seconds and peak memory of its largest process; photos that it brought."""
    with tempfile.TemporaryDirectory() as name:
        urls = Path(name) / "urls.txt"
        urls.write_text("\n".join(f"{address}/{i}.jpg" for i in range(count)))
        command = [program, f"--url_list={urls}", f"--output_folder={name}/out"]
        command += ["--processes_count=1", f"--thread_count={JOBS}", "--resize_mode=no"]
        command += ["--output_format=files", "--image_size=256", "--retries=2"]
        start = time.perf_counter()
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0.0
        while running.poll() is None:
            peak = max(peak, _memory(running.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - start
        brought = len(list((Path(name) / "out").rglob("*.jpg")))
    return {"who": "img2dataset", "seconds": seconds, "peak_mb": peak, "brought": brought}


def _memory(pid: int) -> float:
    """Megabytes of a process and its children together, in proportion to what they share."""
    total = 0.0
    for process in (pid, *_children(pid)):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(text.split("\nPss:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            continue
    return total


def _children(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [grandchild for child in map(int, found) for grandchild in (child, *_children(child))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=positive, default=5000)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--img2dataset", type=Path, help="its program")
    arguments = parser.parse_args()
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{ports.get()}"
    for _ in range(arguments.rounds):  # in turn, so that a busy machine is busy for both
        for name, code in (("plain", PLAIN), ("ours", OURS)):
            with tempfile.TemporaryDirectory() as folder:
                given = [address, folder, str(arguments.photos), str(JOBS)]
                done = subprocess.run(
                    [sys.executable, "-c", code, *given], capture_output=True, text=True, check=True
                )
            print(json.dumps({"who": name} | json.loads(done.stdout)), flush=True)
        if arguments.img2dataset:
            print(json.dumps(img2dataset(arguments.img2dataset, address, arguments.photos)))
    server.terminate()


if __name__ == "__main__":
    main()
