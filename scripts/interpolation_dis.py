"""A peer for scripts/bench-interpolation: motion by OpenCV's dense inverse search (Kroeger et al.,
Fast Optical Flow using Dense Inverse Search, 2016), frames by warping from both sides and blending
by how well forward and backward motion agree."""

import cv2
import numpy as np

# How far forward and backward motion may disagree, in pixels, before a point counts half.
DISAGREE_PX = 1.5


class Computed:
    """Luma only."""

    def __init__(self, frames):
        self.frames, self.first, self.last = frames, 0, len(frames) - 1

    def luma(self, k):
        return self.frames[k]


def read(image, x, y):
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def interpolate_dis(low, step):
    """The luma of all frames from the first kept one to the last."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    x, y = np.meshgrid(np.arange(low.width, dtype=np.float32), np.arange(low.height, dtype=np.float32))
    frames = [np.array(low.luma(0))]
    for index in range(low.count - 1):
        before, after = np.array(low.luma(index)), np.array(low.luma(index + 1))
        forward, backward = search.calc(before, after, None), search.calc(after, before, None)
        trust = []
        for there, back in ((forward, backward), (backward, forward)):
            away = there + read(back, x + there[..., 0], y + there[..., 1])
            trust.append(1 / (1 + np.sum(away ** 2, axis=2) / DISAGREE_PX ** 2))
        pair = np.float32(before), np.float32(after)
        for place in range(1, step):
            t = np.float32(place / step)
            # Motion at the place where a point is at time t, near enough from where it is before.
            warped = [read(image, x - part * flow[..., 0], y - part * flow[..., 1]) for image, flow, part
                      in zip(pair, (forward, backward), (t, 1 - t))]
            weights = [(1 - t) * trust[0] + 1e-3, t * trust[1] + 1e-3]
            moved = (warped[0] * weights[0] + warped[1] * weights[1]) / (weights[0] + weights[1])
            sure = np.maximum(*trust)
            mixed = pair[0] * (1 - t) + pair[1] * t
            frames.append(np.rint(np.clip(moved * sure + mixed * (1 - sure), 0, 255)).astype(np.uint8))
        frames.append(after)
    return Computed(frames)
