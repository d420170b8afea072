"""Change the hue of images in batches, with another matrix for each image, as in data augmentation."""

import argparse

import numpy as np
import pointwise as pw

TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def hue_matrices(angles):
    """Return one matrix (3, 3) for each angle. The matrix changes the hue by the angle and keeps the brightness Y."""
    turns = np.zeros((len(angles), 3, 3))
    turns[:, 0, 0] = 1
    turns[:, 1:, 1:] = np.moveaxis([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]], -1, 0)
    return np.linalg.inv(TO_YIQ) @ turns @ TO_YIQ


def augmented(batches, rng):
    """Yield each batch (n, height, width, 3) of uint8 images in other hues, as float32 from 0 to 1."""
    buffer = None
    for images in batches:
        matrices = hue_matrices(rng.uniform(-np.pi, np.pi, len(images))) / 255
        if buffer is None or buffer.shape != images.shape:
            buffer = np.empty(images.shape, np.float32)
        yield pw.mix(images, matrices, out=buffer, activation=("clip", 0, 1))  # every batch is in the same memory


def make_batches(count, size, rng):
    """Yield batches of four images with coloured discs."""
    y, x = np.mgrid[:size, :size] / size
    for _ in range(count):
        images = np.full((4, size, size, 3), 230, np.uint8)
        for image in images:
            for cy, cx, radius, *colour in rng.uniform((0, 0, 0.1, 0, 0, 0), (1, 1, 0.3, 200, 200, 200), (6, 6)):
                image[np.hypot(y - cy, x - cx) < radius] = colour
        yield images


def plot(images, changed, path):
    """Draw the images of a batch, before and after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    for axes, picture in zip(figure.subplots(2, 4).flat, (*images, *changed), strict=True):
        axes.imshow(picture)
        axes.set(xticks=[], yticks=[])
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--size", type=int, default=128, help="height and width of the images")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    batches = list(make_batches(args.batches, args.size, np.random.default_rng(5)))
    angles = np.random.default_rng(6)
    for number, changed in enumerate(augmented(batches, np.random.default_rng(6))):
        matrices = hue_matrices(angles.uniform(-np.pi, np.pi, 4)) / 255
        expected = np.clip(np.einsum("nkc,nhwc->nhwk", matrices, batches[number]), 0, 1)
        np.testing.assert_allclose(changed, expected, atol=1e-5)
        print(f"batch {number}: {changed.shape}, {changed.dtype}, mean {changed.mean():.3f}")
    print("equal to numpy.einsum within 1e-5")
    if args.plot:
        plot(batches[-1], changed, args.plot)


if __name__ == "__main__":
    main()
