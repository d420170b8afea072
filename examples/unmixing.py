"""Unmix a hyperspectral cube: estimate the amount of each material in every pixel, and plot one map per material."""

import argparse

import numpy as np
import pointwise as pw

MATERIALS = ("water", "soil", "leaves", "roofs")


def unmix(cube, spectra):
    """Return abundances (materials, lines, samples) that fit a cube (bands, lines, samples) best."""
    layer = pw.Conv(np.linalg.pinv(spectra), layout="CHW", dtype=cube.dtype)
    return layer(cube)


def make_scene(bands, size, rng):
    """Return a cube with noise, the spectra (bands, materials) and the true abundances."""
    band = np.linspace(0, 1, bands)[:, None]
    centres, widths = np.array([0.05, 0.75, 0.45, 0.95]), np.array([0.2, 0.4, 0.12, 0.25])
    spectra = 0.1 + 0.8 * np.exp(-(((band - centres) / widths) ** 2))
    y, x = np.mgrid[:size, :size] / size
    waves = rng.uniform(-6, 6, (4, 3, 2))  # four materials, three waves each
    fields = [sum(np.cos(a * y + b * x + 7 * a) for a, b in material) for material in waves]
    abundances = np.exp(2 * np.stack(fields))
    abundances /= abundances.sum(axis=0)
    cube = np.tensordot(spectra, abundances, 1) + rng.normal(0, 0.01, (bands, size, size))
    return cube.astype(np.float32), spectra, abundances


def plot(maps, path):
    """Draw one map per material."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axes, values, name in zip(figure.subplots(1, len(maps)), maps, MATERIALS, strict=True):
        image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
        axes.set(title=name, xticks=[], yticks=[])
    figure.colorbar(image, ax=figure.axes, label="abundance")
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bands", type=int, default=100)
    parser.add_argument("--size", type=int, default=160, help="lines, and samples of each line")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    cube, spectra, abundances = make_scene(args.bands, args.size, np.random.default_rng(1))
    maps = unmix(cube, spectra)
    print(f"cube {cube.shape} -> maps {maps.shape}, {maps.dtype}")
    for name, found, true in zip(MATERIALS, maps, abundances, strict=True):
        print(f"{name:7} mean {found.mean():.2f}, typical error {np.abs(found - true).mean():.3f}")
    expected = np.linalg.lstsq(spectra, cube.reshape(args.bands, -1), rcond=None)[0]
    np.testing.assert_allclose(maps, expected.reshape(maps.shape), atol=1e-4)
    print("equal to numpy.linalg.lstsq within 1e-4")
    if args.plot:
        plot(maps, args.plot)


if __name__ == "__main__":
    main()
