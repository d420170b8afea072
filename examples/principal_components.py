"""Compute principal components of a memory-mapped cube in tiles, so that the cube may be larger than memory."""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import pointwise as pw


def tiles(lines, task, step=64):
    """Yield ranges of lines, and show the progress on standard error."""
    for start in range(0, lines, step):
        print(f"\r{task}: {100 * start // lines:3} %", end="", file=sys.stderr)
        yield slice(start, start + step)
    print(f"\r{task}: 100 %", file=sys.stderr)


def principal_components(cube, count):
    """Return a layer that maps bands to components, and the variances of the components, largest first."""
    sums = pw.Covariance(axis=0)
    for rows in tiles(cube.shape[1], "covariance"):
        sums.update(cube[:, rows])
    variances, vectors = np.linalg.eigh(sums.result())
    matrix = vectors[:, ::-1].T[:count]
    matrix *= np.sign(matrix.sum(axis=1, keepdims=True))  # the sign of an eigenvector is arbitrary
    return pw.Conv(matrix, -matrix @ sums.mean, layout="CHW", dtype=cube.dtype), variances[::-1][:count]


def plot(components, path):
    """Draw each component as an image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    for number, (axes, values) in enumerate(zip(figure.subplots(1, 3), components, strict=True), 1):
        axes.imshow(values, cmap="gray")
        axes.set(title=f"component {number}", xticks=[], yticks=[])
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(60, 256, 160), metavar=("BANDS", "LINES", "SAMPLES"))
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder, rng = pathlib.Path(name), np.random.default_rng(3)
        cube = np.lib.format.open_memmap(folder / "cube.npy", "w+", np.float32, tuple(args.shape))
        bands, lines, samples = cube.shape
        band, y, x = np.ogrid[0 : 1 : bands * 1j, 0 : 9 : lines * 1j, 0 : 9 : samples * 1j]
        for rows in tiles(lines, "cube"):
            noise = rng.normal(0, 0.05, cube[:, rows].shape)
            cube[:, rows] = 2 * band * np.sin(x + y[:, rows]) + np.cos(6 * band) * np.cos(x * y[:, rows] / 4) + noise
        cube = np.load(folder / "cube.npy", mmap_mode="r")
        layer, variances = principal_components(cube, 3)
        result = np.lib.format.open_memmap(folder / "components.npy", "w+", np.float32, (3, lines, samples))
        for rows in tiles(lines, "components"):
            layer(cube[:, rows], out=result[:, rows])
        print(f"cube {cube.shape} -> components {result.shape}, {result.dtype}")
        print("variances", *(f"{variance:.3f}" for variance in variances))
        values = np.linalg.eigvalsh(np.cov(cube.reshape(bands, -1)))[::-1][:3]  # needs the whole cube in memory
        np.testing.assert_allclose(result.var(axis=(1, 2)), values, rtol=1e-3)
        print("equal to numpy.cov and numpy.linalg.eigvalsh within 0.1 %")
        if args.plot:
            plot(result, args.plot)


if __name__ == "__main__":
    main()
