"""What the long runs measure with: ffprobe's view of a file, and a table of numbers and limits."""

import subprocess
from fractions import Fraction

FPS = 60
# A recording ends with a whole AAC frame: up to 1024 samples of 48 kHz more than the picture.
AAC_FRAME_MS = 1024 / 48.0
# Of a picture that only its light matters of.
LUMA_WIDTH, LUMA_HEIGHT = 16, 9


def ffprobe(path, stream, entries):
    """The rows that ffprobe prints of one stream, as lists of strings."""
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", entries,
               "-of", "csv=p=0", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return [line.rstrip(",").split(",") for line in lines]


def packets(path, stream):
    """Time base, and (pts, duration) of every packet in order of time. Packets that a player is
    told to discard (flag D: the encoder's priming) are none of them."""
    time_base = Fraction(ffprobe(path, stream, "stream=time_base")[0][0])
    rows = ffprobe(path, stream, "packet=pts,duration,flags")
    return time_base, sorted((int(row[0]), int(row[1])) for row in rows if "D" not in row[2])


def times(path, stream):
    """Presentation times in seconds of all packets of a stream, in order of time."""
    rows = ffprobe(path, stream, "packet=pts_time")
    return sorted(float(row[0]) for row in rows if row[0] != "N/A")


def luma(recording):
    """Mean luma of every frame."""
    command = ["ffmpeg", "-v", "error", "-i", str(recording), "-map", "0:v:0", "-vf",
               f"scale={LUMA_WIDTH}:{LUMA_HEIGHT}:flags=area,format=gray", "-f", "rawvideo", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        means = []
        while len(picture := process.stdout.read(LUMA_WIDTH * LUMA_HEIGHT)) == LUMA_WIDTH * LUMA_HEIGHT:
            means.append(sum(picture) / len(picture))
    return means


def ms(seconds):
    return float(seconds * 1000)


class Report:
    def __init__(self):
        self.missed = 0

    def row(self, name, value, limit, good):
        self.missed += not good
        print(f"{'ok    ' if good else 'MISSED'}  {name:<44} {value:>12}   {limit}")

    def at_most(self, name, value, limit, unit=""):
        self.row(name, f"{value:.4g} {unit}".strip(), f"at most {limit:g} {unit}".strip(),
                 value <= limit)

    def exactly(self, name, value, wanted):
        self.row(name, str(value), f"exactly {wanted}", value == wanted)
