"""A 1x1 layer computes each pixel without the others. A 3x3 layer mixes neighbouring pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pointwise as pw
from drawing import WIDTH

image = np.zeros((9, 9, 3), np.float32)
image[2, 2], image[6, 3], image[4, 6] = (1, 0.2, 0.1), (0.1, 0.8, 0.2), (0.2, 0.4, 1)
swap = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]  # red and blue change places
mixed = pw.mix(image, swap)
padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
blurred = sum(padded[i : i + 9, j : j + 9] for i in range(3) for j in range(3)) / 3

figure, all_axes = plt.subplots(1, 3, figsize=(WIDTH, 2.2), layout="constrained")
titles = ("three pixels", "1x1: new colours", "3x3: neighbours mix")
for axes, picture, title in zip(all_axes, (image, mixed, blurred), titles, strict=True):
    axes.imshow(np.clip(picture, 0, 1))
    axes.set(title=title, xticks=np.arange(9) - 0.5, yticks=np.arange(9) - 0.5, xticklabels=[], yticklabels=[])
    axes.grid(color="#555555", linewidth=0.4)
    axes.tick_params(length=0)
    axes.title.set_size(9)
