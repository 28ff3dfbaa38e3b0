"""The other ends of outputs, each a real program in a folder of its own: an RTMP server, an SRT
receiver, an X server without a screen, an NDI receiver; and the show itself.

Holds: everything that was started here ends with `Part.end`, frozen or not; nothing else is ended.
"""

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
# Where systems put the modules of nginx.
NGINX_MODULES = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules"]
NGINX_MODULE = "ngx_rtmp_module.so"
# The longest that a server takes to start, or a request to be answered.
PATIENCE_S = 20.0


class Trouble(Exception):
    """What was needed is not there or did not work."""


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, is_so, patience_s=PATIENCE_S):
    """Looks every 20 ms; what `is_so` returned once it was true."""
    deadline = time.monotonic() + patience_s
    while not (answer := is_so()):
        if time.monotonic() > deadline:
            raise Trouble(f"{what}: not within {patience_s:g} s")
        time.sleep(0.02)
    return answer


class Part:
    """A program that comes and goes. `start` is for those who inherit."""

    process = None

    def run(self, command, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | options
        self.process = subprocess.Popen([str(word) for word in command], **options)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends as a program is asked to end."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Nginx(Part):
    """Its applications `live` and `second` take streams and record them, `live` unless told to
    refuse. What it wrote is in `recorded`, a file for every time that somebody published, named
    after the key and the second of the day when it began."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.recorded = self.folder / "recorded"
        self.recorded.mkdir(parents=True)
        self.port, self.http_port = free_port(), free_port()
        places = (Path(place) / NGINX_MODULE for place in NGINX_MODULES)
        module = next((place for place in places if place.exists()), None)
        if module is None:
            raise Trouble(f"{NGINX_MODULE} is in none of {', '.join(NGINX_MODULES)}; "
                          "it comes with libnginx-mod-rtmp on Debian and Ubuntu")
        temporary = " ".join(f"{kind}_temp_path tmp;" for kind in
                             ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        record = f"live on; record all; record_path {self.recorded}; record_unique on;"
        (self.folder / "nginx.conf").write_text(f"""
load_module {module};
daemon off; master_process off; pid nginx.pid; error_log stderr info;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen 127.0.0.1:{self.port};
  application live {{ {record} on_publish http://127.0.0.1:{self.http_port}/may; }}
  application second {{ {record} }}
}} }}
http {{ access_log off; {temporary} root .; server {{ listen 127.0.0.1:{self.http_port};
  location /may {{ if (-f "{self.folder}/refuse") {{ return 403; }} return 200 yes; }}
  location /control {{ rtmp_control all; }}
}} }}
""")

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.run(["nginx", "-p", self.folder, "-c", "nginx.conf"], stderr=log)
        until("nginx listens", self.listens)

    def listens(self):
        if self.process.poll() is not None:
            raise Trouble(f"nginx does not start; it says why in {self.folder}/log")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def refuse(self, application, key):
        """Refuses from now on who wants to publish to `live`, and sends away who does."""
        (self.folder / "refuse").touch()
        ask(self.http_port, "GET", f"/control/drop/publisher?app={application}&name={key}")

    def allow(self):
        (self.folder / "refuse").unlink()

    def url(self, application, key):
        return f"rtmp://127.0.0.1:{self.port}/{application}/{key}"


class SrtReceiver(Part):
    """Waits for a caller, writes what comes into a file as it is, and ends with the connection;
    every start writes a file of its own, `srt_N.ts`."""

    def __init__(self, folder):
        self.folder, self.port, self.count = Path(folder), free_port(socket.SOCK_DGRAM), 0

    def start(self):
        self.count += 1
        with open(self.folder / "srt.log", "ab") as log, open(self.path(), "wb") as received:
            self.run(["srt-live-transmit", "-q", "-a:no",
                      f"srt://127.0.0.1:{self.port}?mode=listener", "file://con"],
                     stdout=received, stderr=log)

    def path(self):
        return self.folder / f"srt_{self.count:03}.ts"

    def url(self):
        return f"srt://127.0.0.1:{self.port}"


class XServer(Part):
    display = None

    def start(self):
        again = [] if self.display is None else [self.display]
        reading, writing = os.pipe()
        self.run(["Xvfb", *again, "-displayfd", writing, "-nolisten", "tcp",
                  "-screen", "0", "1920x1080x24"], pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with os.fdopen(reading) as said:
            if not select.select([said], [], [], PATIENCE_S)[0] or not (n := said.readline().strip()):
                raise Trouble("Xvfb does not start")
        self.display = f":{n}"


class NdiReceiver(Part):
    """The receiver of the tests. It ends by itself some seconds after its first picture."""

    def __init__(self, folder, name, python):
        self.folder, self.name, self.python = Path(folder), name, Path(python)

    def runtime(self):
        """The folder with NDI's runtime library, which came with the receiver."""
        return next((self.python / "lib").glob("python*/site-packages/NDIlib"))

    def start(self, seconds=5):
        with open(self.folder / "ndi.log", "ab") as log:
            self.run([self.python / "bin/python", REPO / "tests/support/ndi_receive.py", self.name,
                      seconds, self.folder / "ndi.png"], stdout=subprocess.PIPE, stderr=log)

    def result(self):
        """What it received, once it has ended; None if nothing came."""
        said, _ = self.process.communicate(timeout=90)
        return json.loads(said) if self.process.returncode == 0 else None


def ask(port, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise Trouble(f"{method} {path}: {answer.status} {body[:200]!r}")
    return body


class Show(Part):
    """`vfaq live` on the shipped worqspace. What it says is in `output.txt` of its folder, its
    numbers in `summary.json`."""

    def __init__(self, vfaq, folder, project, arguments, environment=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.output = self.folder / "output.txt"
        command = [vfaq, "live", "-w", REPO / "worqspace", "-o", project, "-b", "mock",
                   "--listen", "127.0.0.1:0", "--summary", self.folder / "summary.json", *arguments]
        settings = os.environ | (environment or {})
        # The window belongs on the server that was started for it.
        settings.pop("WAYLAND_DISPLAY", None)
        with open(self.output, "wb") as said:
            self.run(command, stdout=said, stderr=subprocess.STDOUT, env=settings)
        self.port = until("the show listens", self.listens)

    def listens(self):
        if self.process.poll() is not None:
            raise Trouble(f"the show ended with exit code {self.process.returncode}; "
                          f"all it said is in {self.output}")
        for line in self.output.read_text(errors="replace").splitlines():
            if "listening on http://" in line:
                return int(line.rsplit(":", 1)[1])
        return None

    def outputs(self):
        return json.loads(ask(self.port, "GET", "/api/v1/outputs"))

    def retry(self, name):
        ask(self.port, "POST", f"/api/v1/outputs/{name}/retry")

    def finish(self):
        """Waits for the end of the show. Gives the CPU time, in seconds, of the process and of those
        that it has started."""
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            raise Trouble(f"the show ended with exit code {self.process.returncode}; "
                          f"all it said is in {self.output}")
        return used.ru_utime + used.ru_stime

    def summary(self):
        return json.loads((self.folder / "summary.json").read_text())


class Watch(threading.Thread):
    """Looks at the outputs of a show five times a second, and writes down what they say; every ten
    seconds memory and CPU of its process."""

    EVERY_S, MEMORY_EVERY_S = 0.2, 10.0
    FIELDS = ["name", "state", "reason", "since_s", "retry_in_s", "frames", "dropped_frames",
              "dropped_groups", "reconnects", "queue_ms"]

    def __init__(self, show, folder):
        super().__init__(name="watch", daemon=True)
        self.show, self.folder, self.latest = show, Path(folder), {}
        self.over = threading.Event()

    def run(self):
        next_memory = time.monotonic()
        with open(self.folder / "outputs.jsonl", "w") as outputs, \
                open(self.folder / "memory.jsonl", "w") as memory:
            while not self.over.wait(self.EVERY_S):
                try:
                    seen = self.show.outputs()
                except (OSError, http.client.HTTPException, Trouble):
                    # The show is ending, or has ended by itself; who waits for it says so.
                    continue
                now = time.monotonic()
                seen = [{field: output[field] for field in self.FIELDS} for output in seen]
                outputs.write(json.dumps({"t": round(now, 3), "outputs": seen}) + "\n")
                self.latest = {output["name"]: output for output in seen}
                if now >= next_memory:
                    next_memory += self.MEMORY_EVERY_S
                    if usage := process_usage(self.show.process.pid):
                        memory.write(json.dumps({"t": round(now, 3)} | usage) + "\n")

    def stop(self):
        self.over.set()
        self.join()


def process_usage(pid):
    """Resident memory in kB and CPU time in seconds; None where the system has no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        numbers = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    rss = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    ticks = int(numbers[11]) + int(numbers[12])
    return {"rss_kb": rss, "cpu_s": ticks / os.sysconf("SC_CLK_TCK")}


def say(text):
    now = time.time()
    stamp = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03}"
    print(f"{stamp}  {text}", file=sys.stderr, flush=True)
