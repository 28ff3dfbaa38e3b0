"""How good a predicted film is: .y4m files, methods to compare, and the figures of one clip."""

import re
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

PSNR_CAP_DB = 60.0
# A frame is worse than blending if it is so by more than this.
TOLERANCE_DB = 0.5
# Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, 2004, section III.
SSIM_SIGMA, SSIM_SIDE = 1.5, 11
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Y4m:
    """A .y4m file of 8-bit 4:2:0 pictures, which stays on the disk."""

    def __init__(self, path):
        with open(path, "rb") as file:
            header = file.readline(200)
        words = header.decode("ascii", "replace").split()
        tags = {word[0]: word[1:] for word in reversed(words[1:])}
        if not words or words[0] != "YUV4MPEG2" or not tags.get("C", "420").startswith("420") or \
                re.match("420p1", tags.get("C", "")):
            raise ValueError(f"{path} is no .y4m file of 8-bit 4:2:0 pictures: {header[:80]!r}")
        self.width, self.height = int(tags["W"]), int(tags["H"])
        self.fps = Fraction(*map(int, tags["F"].split(":")))
        self.shapes = [(self.height, self.width)] + 2 * [((self.height + 1) // 2, (self.width + 1) // 2)]
        data = np.memmap(path, np.uint8, "r", len(header))
        mark = b"FRAME\n"
        size = len(mark) + sum(rows * columns for rows, columns in self.shapes)
        self.count = len(data) // size
        self.frames = data[:self.count * size].reshape(self.count, size)
        if len(data) % size or any(self.frames[i, :len(mark)].tobytes() != mark
                                   for i in range(self.count)):
            raise ValueError(f"{path} is cut off, or has frames with headers of their own")
        self.frames = self.frames[:, len(mark):]

    def luma(self, index):
        return self.frames[index, :self.height * self.width].reshape(self.shapes[0])

    def planes(self, index):
        sizes = np.cumsum([rows * columns for rows, columns in self.shapes[:2]])
        parts = np.split(self.frames[index], sizes)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes)]


class Predicted:
    """A film that a program wrote. Its picture number `-lead` is that of the clip's frame 0."""

    def __init__(self, film, lead=0):
        self.film, self.first, self.last = film, lead, lead + film.count - 1

    def planes(self, k):
        return self.film.planes(k - self.first)

    def luma(self, k):
        return self.film.luma(k - self.first)


class Blended:
    """The two kept frames around, mixed by distance; or the one before, repeated."""

    def __init__(self, low, step, repeat=False):
        self.low, self.step, self.repeat = low, step, repeat
        self.first, self.last = 0, (low.count - 1) * step

    def mixed(self, k, read):
        before, part = divmod(k, self.step)
        if self.repeat or part == 0:
            return read(before)
        part = np.float32(part / self.step)
        mix = [a * (1 - part) + b * part for a, b in zip(read(before), read(before + 1))]
        return [np.rint(plane).astype(np.uint8) for plane in mix]

    def planes(self, k):
        return self.mixed(k, self.low.planes)

    def luma(self, k):
        return self.mixed(k, lambda index: [self.low.luma(index)])[0]


def find_lead(film, low, step):
    """The clip's frame that a film begins with. A program may begin late, and passes kept frames
    through unchanged: the lead is where most of them are met."""
    def met(lead):
        places = [j * step - lead for j in range(low.count)]
        return sum(np.array_equal(film.frames[place], low.frames[j])
                   for j, place in enumerate(places) if 0 <= place < film.count)
    return max(range(-step, 3 * step + 1), key=lambda lead: (met(lead), -abs(lead)))


def window(plane):
    half = SSIM_SIDE // 2
    blurred = cv2.GaussianBlur(plane, (SSIM_SIDE, SSIM_SIDE), SSIM_SIGMA)
    return blurred[half:-half, half:-half]


class Truth:
    """A true frame, with what SSIM needs of it computed once."""

    def __init__(self, luma):
        self.luma = np.float32(luma)
        self.mean = window(self.luma)
        self.variance = window(self.luma ** 2) - self.mean ** 2

    def ssim(self, luma):
        mean = window(luma)
        variance = window(luma ** 2) - mean ** 2
        covariance = window(luma * self.luma) - mean * self.mean
        likeness = (2 * mean * self.mean + SSIM_C1) * (2 * covariance + SSIM_C2)
        return float(np.mean(likeness / ((mean ** 2 + self.mean ** 2 + SSIM_C1)
                                         * (variance + self.variance + SSIM_C2))))


def psnr(error):
    mean_square = float(np.mean(np.square(error)))
    return min(PSNR_CAP_DB, 10 * np.log10(255 ** 2 / max(mean_square, 1e-9)))


@dataclass
class Figures:
    """Of one method on one clip; lists have an entry for each predicted frame."""
    psnr: list = field(default_factory=list)
    ssim: list = field(default_factory=list)
    flicker: float = 0.0
    cpu_ms: float | None = None
    worse_than_blend: int = 0

    @property
    def mean_psnr(self):
        return float(np.mean(self.psnr))

    @property
    def mean_ssim(self):
        return float(np.mean(self.ssim))

    @property
    def worst_psnr(self):
        return float(np.mean(sorted(self.psnr)[:max(1, round(len(self.psnr) / 20))]))

    @property
    def worse_share(self):
        return self.worse_than_blend / len(self.psnr)


def measure(truth, methods, kept):
    """Compares films with the true one. `kept` says whether frame k was given. Returns the numbers of
    the predicted frames, and {name: Figures}; one of the methods must be called `blend`."""
    first = max([0] + [method.first for method in methods.values()])
    last = min([truth.count - 1] + [method.last for method in methods.values()])
    frames = [k for k in range(first, last + 1) if not kept(k)]
    if not frames:
        raise ValueError("the methods have no predicted frame in common")
    figures = {name: Figures() for name in methods}
    errors = {name: [] for name in methods}
    accelerations = {name: [] for name in methods}
    for k in range(first, last + 1):
        true = Truth(truth.luma(k))
        for name, method in methods.items():
            luma = np.float32(method.luma(k))
            error = luma - true.luma
            if not kept(k):
                figures[name].psnr.append(psnr(error))
                figures[name].ssim.append(true.ssim(luma))
            history = errors[name]
            history.append(error)
            if len(history) == 3:
                second = history[0] - 2 * history[1] + history[2]
                accelerations[name].append(float(np.mean(np.square(second))))
                history.pop(0)
    for name, figure in figures.items():
        figure.flicker = float(np.sqrt(np.mean(accelerations[name]))) if accelerations[name] else 0.0
        figure.worse_than_blend = sum(own < blend - TOLERANCE_DB for own, blend
                                      in zip(figure.psnr, figures["blend"].psnr))
    return frames, figures
