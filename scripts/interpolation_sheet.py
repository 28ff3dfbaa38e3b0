"""A page to look at the worst frames of every clip: the true one and what methods made of it, the
part with the largest errors beside each other, and their errors."""

import html

import cv2
import numpy as np

# What is shown of a frame, at its own size; and of its errors, what is white.
CROP_W, CROP_H = 400, 300
WHITE_LEVELS = 64
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 93]

STYLE = """
body { font: 14px/1.4 sans-serif; background: #16181c; color: #ddd; margin: 2em; }
h1, h2 { font-weight: 500 } h2 { margin-top: 2.5em }
table { border-collapse: collapse } td, th { padding: 2px 14px 2px 0; text-align: right }
td:first-child, th:first-child { text-align: left }
.frame { margin: 1em 0 2em; white-space: nowrap; overflow-x: auto }
figure { display: inline-block; margin: 0 6px 0 0 } figcaption { color: #aaa }
img { display: block; margin-bottom: 4px } a { color: inherit }
"""
COLUMNS = [("PSNR-Y", "psnr_y", "{:.2f}"), ("SSIM", "ssim", "{:.4f}"),
           ("worst 5%", "worst_psnr_y", "{:.2f}"), ("flicker", "flicker", "{:.2f}"),
           ("&lt; blend", "worse_than_blend", "{:.1%}"), ("CPU ms", "cpu_ms", "{:.2f}")]


def colour(planes):
    """8-bit BGR of BT.709 planes in limited range."""
    height, width = planes[0].shape
    y = (np.float32(planes[0]) - 16) / 219
    cb, cr = ((cv2.resize(np.float32(plane), (width, height)) - 128) / 224 for plane in planes[1:])
    red, blue = y + 1.5748 * cr, y + 1.8556 * cb
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    return np.uint8(np.clip(np.dstack([blue, green, red]) * 255 + 0.5, 0, 255))


def centre_of(error, width, height):
    """The corner of the part with the largest errors."""
    sums = cv2.boxFilter(np.square(error), -1, (width | 1, height | 1), borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(np.argmax(sums), sums.shape)
    return (int(np.clip(x - width // 2, 0, error.shape[1] - width)),
            int(np.clip(y - height // 2, 0, error.shape[0] - height)))


class Sheet:
    def __init__(self, folder):
        self.folder, self.sections = folder, []
        (folder / "frames").mkdir(parents=True)

    def clip(self, truth, films, frames, figures):
        """Keeps what is worst of a clip. `films` begins with the true one and then this program's."""
        ours = list(films)[1]
        reasons = {}
        own = np.array(figures[ours].psnr)
        for reason, value in [("lowest PSNR", own)] + [
                (f"worst against {other}", own - np.array(figures[other].psnr))
                for other in list(films)[2:]]:
            reasons.setdefault(int(np.argmin(value)), []).append(reason)
        parts = []
        for place, why in reasons.items():
            k = frames[place]
            parts.append(f"<h3>Frame {k}: {html.escape(', '.join(why))}</h3><div class=frame>")
            true = np.float32(truth.luma(k))
            width, height = min(CROP_W, truth.width), min(CROP_H, truth.height)
            x, y = centre_of(np.float32(films[ours].luma(k)) - true, width, height)
            for index, (label, film) in enumerate(films.items()):
                stem = f"frames/{len(self.sections)}-{k}-{index}"
                whole = colour(film.planes(k))
                error = np.abs(np.float32(film.luma(k)) - true) * (255 / WHITE_LEVELS)
                self.image(f"{stem}.jpg", whole)
                self.image(f"{stem}-part.jpg", whole[y:y + height, x:x + width])
                self.image(f"{stem}-error.jpg", np.uint8(np.minimum(error, 255))[y:y + height, x:x + width])
                value = f", {figures[label].psnr[place]:.2f} dB" if label in figures else ""
                parts.append(f"<figure><a href='{stem}.jpg'><img src='{stem}-part.jpg'></a>"
                             f"<img src='{stem}-error.jpg'>"
                             f"<figcaption>{html.escape(label)}{value}</figcaption></figure>")
            parts.append("</div>")
        self.sections.append("".join(parts))

    def image(self, name, pixels):
        if not cv2.imwrite(str(self.folder / name), pixels, JPEG):
            raise OSError(f"cannot write {self.folder / name}")

    def write(self, numbers):
        page = ["<!doctype html><meta charset=utf-8><title>Interpolated frames</title>",
                f"<style>{STYLE}</style><h1>Interpolated frames, the worst of every clip</h1>",
                "<p>The part of a frame where this program errs most; below it the errors of luma, "
                f"white at {WHITE_LEVELS} levels. A click shows the whole frame.</p>",
                "<h2>All clips</h2>", table(numbers["average"])]
        for clip, section in zip(numbers["clips"], self.sections):
            page += [f"<h2>{html.escape(clip['name'])}</h2>", table(clip["methods"]), section]
        (self.folder / "index.html").write_text("\n".join(page))


def table(methods):
    rows = ["<table><tr><th>method" + "".join(f"<th>{title}" for title, _, _ in COLUMNS)]
    for name, row in methods.items():
        cells = ("-" if row[key] is None else form.format(row[key]) for _, key, form in COLUMNS)
        rows.append(f"<tr><td>{html.escape(name)}" + "".join(f"<td>{cell}" for cell in cells))
    return "\n".join(rows) + "</table>"
