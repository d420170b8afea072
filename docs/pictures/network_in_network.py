"""Two 1x1 layers with a ReLU between them compute what one linear layer cannot: |a - b|."""

import matplotlib.pyplot as plt
import numpy as np
import pointwise as pw
from drawing import WIDTH

y, x = np.mgrid[-1:1:120j, -1:1:120j]
a, b = np.cos(5 * (x + 0.3) ** 2 + 5 * y**2), np.cos(6 * x - 3 * y)
channels = np.stack([a, b]).astype(np.float32)  # C, H, W

hidden = pw.Conv(np.float32([[1, -1], [-1, 1]]), layout="CHW", activation="relu")  # relu(a - b), relu(b - a)
total = pw.Conv(np.float32([[1, 1]]), layout="CHW")
network = pw.Chain([hidden, total])(channels)[0]
np.testing.assert_allclose(network, abs(channels[0] - channels[1]), atol=1e-6)

columns = np.column_stack([a.ravel(), b.ravel(), np.ones(a.size)])
*weights, bias = np.linalg.lstsq(columns, abs(a - b).ravel(), rcond=None)[0]
linear = pw.mix(channels, np.float32([weights]), np.float32([bias]), axis=0)[0]

figure, all_axes = plt.subplots(2, 2, figsize=(WIDTH, 5.8), layout="constrained")
pictures = {"channel a": a, "channel b": b, "one 1x1 layer: its best fit": linear, "two 1x1 layers: |a - b|": network}
for axes, (title, picture) in zip(all_axes.flat, pictures.items(), strict=True):
    signed = title.startswith("channel")
    axes.imshow(picture, vmin=-1 if signed else 0, vmax=1 if signed else 2, cmap="RdBu" if signed else "viridis")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
