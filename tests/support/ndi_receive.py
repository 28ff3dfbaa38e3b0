"""Receives an NDI source as a mixing desk would, and says in JSON what came.

    ndi_receive.py NAME SECONDS PICTURE.png

Waits for the source on this machine whose name is NAME, receives for SECONDS from its first
picture on, and writes the last picture to PICTURE.png. Prints one line:
{"sources": [...], "frames": .., "size": [w, h], "rate": [n, d], "seconds": ..,
 "sample_rate": .., "channels": .., "samples": .., "rms": .., "distinct": ..}
`distinct` counts pictures that differ from the one before. Exit code 1: no such source or no
picture within 20 s.
"""

import json
import struct
import sys
import time
import zlib

import numpy as np
import NDIlib as ndi

PATIENCE_S = 20.0


def find(name):
    """The source called NAME (NDI puts the machine's name before it), and the names of all."""
    settings = ndi.FindCreate()
    settings.show_local_sources = True
    settings.extra_ips = "127.0.0.1"
    finder = ndi.find_create_v2(settings)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        ndi.find_wait_for_sources(finder, 500)
        sources = ndi.find_get_current_sources(finder)
        for source in sources:
            if source.ndi_name.endswith(f"({name})"):
                return finder, source, [s.ndi_name for s in sources]
    sys.exit(f"no NDI source called {name} within {PATIENCE_S:.0f} s")


def rgb_of(uyvy):
    """BT.709 limited range, height x width x 2, to bytes of red, green and blue."""
    luma = (uyvy[:, :, 1].astype(np.float32) - 16) * (255 / 219)
    cb, cr = ((uyvy[:, n::2, 0].astype(np.float32) - 128).repeat(2, axis=1) * (255 / 224) for n in (0, 1))
    rgb = np.stack([luma + 1.5748 * cr, luma - 0.1873 * cb - 0.4681 * cr, luma + 1.8556 * cb], axis=2)
    return np.clip(rgb + 0.5, 0, 255).astype(np.uint8)


def write_png(path, uyvy):
    rgb = rgb_of(uyvy)
    height, width, _ = rgb.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rgb.reshape(height, -1)], axis=1)

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(lines.tobytes(), 1)) + chunk(b"IEND", b""))


def main(name, seconds, picture_path):
    if not ndi.initialize():
        sys.exit("the NDI runtime does not start on this processor")
    # The finder owns the source's name until the receiver has it.
    finder, source, names = find(name)
    settings = ndi.RecvCreateV3()
    # What the runtime has without a conversion: the receiver shares its machine with the show.
    settings.color_format = ndi.RECV_COLOR_FORMAT_UYVY_BGRA
    settings.bandwidth = ndi.RECV_BANDWIDTH_HIGHEST
    receiver = ndi.recv_create_v3(settings)
    ndi.recv_connect(receiver, source)

    got = {"sources": names, "frames": 0, "samples": 0, "distinct": 0, "seconds": 0.0}
    squares, last, last_seen, first_at, last_at = 0.0, None, None, None, None
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        kind, video, audio, metadata = ndi.recv_capture_v2(receiver, 500)
        if kind == ndi.FRAME_TYPE_VIDEO:
            last_at = time.monotonic()
            if first_at is None:
                first_at = last_at
                deadline = first_at + seconds
                got["size"] = [video.xres, video.yres]
                got["rate"] = [video.frame_rate_N, video.frame_rate_D]
            got["frames"] += 1
            # A few lines are enough to see whether it moves, and cost little.
            seen = np.array(video.data[::40, ::8])
            if last_seen is None or not np.array_equal(seen, last_seen):
                got["distinct"] += 1
            last_seen = seen
            if got["frames"] % 30 == 1:
                last = np.array(video.data)
            ndi.recv_free_video_v2(receiver, video)
        elif kind == ndi.FRAME_TYPE_AUDIO:
            if first_at is not None:
                got["sample_rate"] = audio.sample_rate
                got["channels"] = audio.no_channels
                got["samples"] += audio.no_samples
                squares += float(np.mean(np.square(audio.data))) * audio.no_samples
            ndi.recv_free_audio_v2(receiver, audio)
        elif kind == ndi.FRAME_TYPE_METADATA:
            ndi.recv_free_metadata(receiver, metadata)
    if last is None:
        sys.exit(f"no picture from {name} within {PATIENCE_S:.0f} s")
    got["seconds"] = last_at - first_at
    got["rms"] = (squares / got["samples"]) ** 0.5 if got["samples"] else 0.0
    write_png(picture_path, last)
    ndi.recv_destroy(receiver)
    ndi.find_destroy(finder)
    print(json.dumps(got))


main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
