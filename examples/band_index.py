"""Compute vegetation indices of a 16-bit satellite image: NDVI and EVI, from one pass over the bands."""

import argparse

import numpy as np
import pointwise as pw

SUMS = np.array([[0, -1, 1], [0, 1, 1], [-7.5, 6, 1]]) / 10_000  # bands: blue, red, near infrared, in 1/10,000
OFFSETS = [0, 0, 1]


def indices(image):
    """Return NDVI and EVI of a uint16 image (bands, lines, samples)."""
    difference, total, weighted = pw.mix(image, SUMS, OFFSETS, axis=0)
    return difference / total, 2.5 * difference / weighted


def make_image(size, rng):
    """Return fields of different vegetation, with a river, as reflectances in 1/10,000."""
    y, x = np.mgrid[:size, :size] / size
    fields = rng.uniform(0, 1, (6, 6))[(y * 6).astype(int), (x * 6).astype(int)]
    leaves = np.clip(fields + rng.normal(0, 0.05, (size, size)), 0, 1)
    bare, green = np.array([0.09, 0.16, 0.22]), np.array([0.03, 0.05, 0.45])
    image = bare[:, None, None] * (1 - leaves) + green[:, None, None] * leaves
    river = np.abs(y - 0.5 - 0.1 * np.sin(7 * x)) < 0.03
    image[:, river] = np.array([[0.06], [0.04], [0.02]])
    return (image * 10_000).astype(np.uint16)


def plot(ndvi, evi, path):
    """Draw both indices."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, values, name in zip(figure.subplots(1, 2), (ndvi, evi), ("NDVI", "EVI"), strict=True):
        image = axes.imshow(values, vmin=-0.4, vmax=1, cmap="RdYlGn")
        axes.set(title=name, xticks=[], yticks=[])
    figure.colorbar(image, ax=figure.axes)
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=240, help="lines, and samples of each line")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    image = make_image(args.size, np.random.default_rng(2))
    ndvi, evi = indices(image)
    print(f"image {image.shape}, {image.dtype} -> index {ndvi.shape}, {ndvi.dtype}")
    for name, values in (("NDVI", ndvi), ("EVI", evi)):
        print(f"{name:4} from {values.min():5.2f} to {values.max():.2f}, mean {values.mean():.2f}")
    blue, red, nir = image.astype(np.float64) / 10_000
    np.testing.assert_allclose(ndvi, (nir - red) / (nir + red), atol=1e-5)
    np.testing.assert_allclose(evi, 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1), atol=1e-5)
    print("equal to NumPy within 1e-5")
    if args.plot:
        plot(ndvi, evi, args.plot)


if __name__ == "__main__":
    main()
