"""Apply a layer to a cube in a file that is larger than memory, block by block."""

import argparse
import os
import pathlib
import tempfile

import numpy as np
import pointwise as pw


def convolve(source, target, layer, step=64):
    """Apply a layer of layout "CHW" to a .npy file (bands, lines, samples), and write a .npy file."""
    x = np.load(source, mmap_mode="r")
    y = np.lib.format.open_memmap(target, "w+", x.dtype, (len(layer.weight), *x.shape[1:]))
    for start in range(0, x.shape[1], step):
        layer(x[:, start : start + step], out=y[:, start : start + step])
    y.flush()


def make_file(path, shape):
    """Write a cube of rings whose width depends on the band."""
    cube = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    y, x = np.ogrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    for band, plane in enumerate(cube):
        plane[:] = np.cos((4 + band) * (x * x + y * y))


def plot(x, y, path):
    """Draw a band of the cube and the channels of the result."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    titles = ("band 20 of x", "low bands", "high bands")
    for axes, values, title in zip(figure.subplots(1, 3), (x[20], *y), titles, strict=True):
        axes.imshow(values[:: 1 + len(values) // 400, :: 1 + len(values) // 400], cmap="gray")
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 256, 256), metavar=("BANDS", "LINES", "SAMPLES"))
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    bands = args.shape[0]
    weight = np.float32([np.arange(bands) < bands // 2, np.arange(bands) >= bands // 2]) * 2 / bands  # two means
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "x.npy", pathlib.Path(folder) / "y.npy"
        make_file(source, tuple(args.shape))
        convolve(source, target, pw.Conv(weight, layout="CHW"))
        x, y = np.load(source, mmap_mode="r"), np.load(target, mmap_mode="r")
        print(f"read {os.path.getsize(source):,} bytes, wrote {os.path.getsize(target):,} bytes")
        for line in range(0, x.shape[1], 10):  # NumPy checks every tenth line
            np.testing.assert_allclose(y[:, line], weight @ x[:, line], atol=1e-5)
        print("equal to NumPy within 1e-5")
        if args.plot:
            plot(x, y, args.plot)


if __name__ == "__main__":
    main()
