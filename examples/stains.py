"""Separate the stains haematoxylin and eosin of a microscope image of tissue."""

import argparse

import numpy as np
import pointwise as pw

# Optical density of each stain in red, green and blue (Ruifrok and Johnston, 2001). The third stain is the remainder.
HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
STAINS = np.stack([HAEMATOXYLIN, EOSIN, np.cross(HAEMATOXYLIN, EOSIN)], axis=1)
DENSITY = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)  # of each of the 256 values


def separate(image):
    """Return the amounts of the stains (height, width, 3) in a uint8 image, and one RGB image for each stain."""
    density = DENSITY[image]  # first pass: the logarithm
    amounts = pw.mix(density, np.linalg.inv(STAINS), activation="relu")  # second pass
    pictures = []
    for k in range(2):
        light = pw.mix(amounts[..., k : k + 1], -STAINS[:, k : k + 1])  # for each stain: third pass
        pictures.append(np.exp(light, out=light))  # and fourth pass: the exponential
    return amounts, pictures


def make_image(size, rng):
    """Return violet nuclei on pink tissue, and the amounts of both stains."""
    y, x = np.mgrid[:size, :size]
    eosin = 0.5 + 0.25 * np.sin(x / 9 + 3 * np.sin(y / 40)) + rng.normal(0, 0.02, (size, size))
    nuclei = np.zeros((size, size))
    for cy, cx, radius in zip(*rng.uniform(0, size, (2, 60)), rng.uniform(4, 9, 60), strict=True):
        nuclei = np.maximum(nuclei, 1.2 * (np.hypot(y - cy, 1.3 * (x - cx)) < radius))
    light = np.exp(-(nuclei[..., None] * HAEMATOXYLIN + eosin[..., None] * EOSIN))
    return np.rint(255 * light).astype(np.uint8), nuclei, eosin


def plot(image, pictures, path):
    """Draw the image and the two stains."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    names = ("image", "haematoxylin", "eosin")
    for axes, picture, name in zip(figure.subplots(1, 3), (image, *pictures), names, strict=True):
        axes.imshow(picture)
        axes.set(title=name, xticks=[], yticks=[])
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="height and width of the image")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    image, nuclei, eosin = make_image(args.size, np.random.default_rng(4))
    amounts, pictures = separate(image)
    print(f"image {image.shape}, {image.dtype} -> amounts {amounts.shape}, {amounts.dtype}")
    for name, found, true in zip(("haematoxylin", "eosin"), np.moveaxis(amounts, -1, 0), (nuclei, eosin), strict=False):
        print(f"{name:12} mean {found.mean():.2f}, typical error {np.abs(found - true).mean():.3f}")
    expected = np.maximum(DENSITY[image] @ np.linalg.inv(STAINS).T, 0)
    np.testing.assert_allclose(amounts, expected, atol=1e-5)
    print("equal to NumPy within 1e-5")
    if args.plot:
        plot(image, pictures, args.plot)


if __name__ == "__main__":
    main()
