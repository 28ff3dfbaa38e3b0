"""Stands for scripts/diffusers_worker.py without torch: plain pictures, and every misbehaviour.

How it starts is said by --device, what a job does by its prompt.
"""

import json
import os
import signal
import struct
import sys
import threading
import time
import zlib

device = next((a.split("=", 1)[1] for a in sys.argv if a.startswith("--device=")), "cpu")
lock = threading.Lock()
cancelled = set()
loading = set()


def say(event, **fields):
    with lock:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def png(path, width, height, rgb):
    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(
            ">I", zlib.crc32(tag + data))

    rows = (b"\0" + bytes(rgb) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) +
                   chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def until(job, cond, patience=8.0):
    for _ in range(int(patience / 0.01)):
        if cond():
            return True
        time.sleep(0.01)
    return False


def do(job):
    id, prompt = job["id"], job["prompt"]
    size = (job["width"], job["height"])
    word = prompt.split()[0] if prompt else ""
    say("progress", id=id, what="sampling", done=0.5)
    if word == "die":
        print("about to die: no memory left", file=sys.stderr)
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "exit":
        print("Traceback: it broke", file=sys.stderr)
        sys.stderr.flush()
        os._exit(3)
    elif word == "garbage":
        print("Downloading: 100%", flush=True)
        time.sleep(30)
    elif word == "long":
        print("x" * (2 << 20), flush=True)
        time.sleep(30)
    elif word == "escape":
        return say("done", id=id, files=["../secret.png"])
    elif word == "lost":
        return say("done", id=id, files=["gone.png"])
    elif word == "fail":
        kind = prompt.split()[1]
        return say("failed", id=id, kind=kind, message=f"this is a failure of {kind}")
    elif word == "hang":
        time.sleep(60)
    elif word == "wait":
        until(job, lambda: id in cancelled)
        return say("failed", id=id, kind="cancelled", message="")
    elif word == "load":
        loading.add(id)
        until(job, lambda: id in cancelled)
        return say("failed", id=id, kind="cancelled", message="")
    elif word == "slow":
        time.sleep(0.2)
    if job["kind"] == "image":
        colour = (200, 100, 50) if job["first"] is None else (50, 100, 200)
        if job["first"] is not None:
            assert os.path.getsize(os.path.join(job["folder"], job["first"])) > 50
        png(os.path.join(job["folder"], "0.png"), *size, colour)
        return say("done", id=id, files=["0.png"], notes=["a note"])
    files = [f"{n}.png" for n in range(job["frames"])]
    for n, name in enumerate(files):
        png(os.path.join(job["folder"], name), *size, (20 + n * 20, 90, 90))
    say("done", id=id, files=files)


def jobs():
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "cancel":
            cancelled.add(command["id"])
            if command["id"] in loading:
                say("loading", id=command["id"])
        else:
            threading.Thread(target=do, args=(command,), daemon=True).start()
    os._exit(0)


if device == "dies":
    print("ImportError: libcuda is not there", file=sys.stderr)
    sys.exit(1)
if device == "no-package":
    say("failed", id=None, kind="package", message="python lacks the Python package transformers")
    sys.exit(0)
say("hello", protocol=99 if device == "old" else 1, python="3.0", diffusers="0.1", torch="2.0",
    device="cpu, float32", notes=["runs on the CPU"])
jobs()
