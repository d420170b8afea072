"""Transform the colours of an 8-bit image: RGB to YCbCr, grey, sepia and white balance, from uint8 to uint8."""

import argparse

import numpy as np
import pointwise as pw

# A row for each output channel: the weights of red, green and blue, and an offset.
YCBCR = [[0.299, 0.587, 0.114, 0], [-0.168736, -0.331264, 0.5, 128], [0.5, -0.418688, -0.081312, 128]]
GREY = [[0.299, 0.587, 0.114, 0]]
SEPIA = [[0.393, 0.769, 0.189, 0], [0.349, 0.686, 0.168, 0], [0.272, 0.534, 0.131, 0]]


def transform(image, matrix):
    """Apply weights and offsets to a uint8 image (height, width, 3). The result is rounded and saturated."""
    m = np.asarray(matrix)
    return pw.mix(image, m[:, :3], m[:, 3], out_dtype="uint8")


def white_balance(black, white):
    """Return the matrix that maps the colour `black` to 0 and the colour `white` to 255."""
    gains = 255 / (np.asarray(white, float) - black)
    return np.column_stack([np.diag(gains), -gains * black])


def make_image(size):
    """Return a wheel of colours and a grey ramp in warm light, with some haze."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    hue = np.arctan2(y, x)[..., None] + np.array([0, -2, 2]) * np.pi / 3
    radius = np.hypot(y, x)[..., None]
    colours = np.where(radius < 0.7, np.clip(1 - radius * (1 - np.cos(hue)), 0, 1), 1)
    colours[y > 0.75] = np.clip((1 + x[y > 0.75]) / 2, 0, 1)[:, None]
    return np.rint([30, 20, 10] + colours * [215, 180, 120]).astype(np.uint8)


def plot(pictures, path):
    """Draw the pictures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3), layout="constrained")
    for axes, (name, picture) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes.set(title=name, xticks=[], yticks=[])
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="height and width of the image")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    image = make_image(args.size)
    matrices = {"YCbCr": YCBCR, "grey": GREY, "sepia": SEPIA, "balanced": white_balance([30, 20, 10], [245, 200, 130])}
    pictures = {"image": image}
    for name, matrix in matrices.items():
        pictures[name] = result = transform(image, matrix)
        exact = np.clip(image @ np.asarray(matrix)[:, :3].T + np.asarray(matrix)[:, 3], 0, 255)
        assert np.abs(result - exact).max() <= 0.5001  # rounded to nearest
        means = " ".join(f"{mean:.0f}" for mean in result.mean(axis=(0, 1)))
        print(f"{name:8} {image.shape} -> {result.shape}, {result.dtype}, mean {means}")
    print("equal to NumPy, rounded to nearest")
    if args.plot:
        pictures["YCbCr"] = pictures["YCbCr"][..., 1]
        plot({"Cb" if name == "YCbCr" else name: picture for name, picture in pictures.items()}, args.plot)


if __name__ == "__main__":
    main()
