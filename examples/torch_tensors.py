"""Pass PyTorch tensors to a pointwise layer and back, without a copy, in both memory formats."""

import argparse

import ml_dtypes
import numpy as np
import pointwise as pw
import torch


def apply_contiguous(layer, x):
    """Apply a layer of layout "NCHW" to a contiguous tensor."""
    return torch.from_numpy(layer(x.numpy()))


def apply_channels_last(layer, x):
    """Apply a layer of layout "NHWC" to a channels_last tensor. The result is channels_last, too."""
    return torch.from_numpy(layer(x.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)


def as_array(x):
    """Return a bfloat16 tensor as an array that shares its memory."""
    return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def as_tensor(x):
    """Return a bfloat16 array as a tensor that shares its memory."""
    return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)


def gradients(size):
    """Return the horizontal and the vertical gradient of a picture, computed by PyTorch: (1, 2, size, size)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size + 2), torch.linspace(-1, 1, size + 2), indexing="ij")
    picture = torch.cos(12 * (x * x + y * y)) + (x > y)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return torch.nn.functional.conv2d(picture[None, None], torch.stack([sobel, sobel.T])[:, None])


def plot(x, y, path):
    """Draw the channels of x and of y."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3), layout="constrained")
    titles = ("x: horizontal", "x: vertical", "y: sum", "y: difference")
    for axes, values, title in zip(figure.subplots(1, 4), (*x[0], *y[0]), titles, strict=True):
        axes.imshow(values, cmap="gray")
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=160, help="height and width")
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    torch.manual_seed(0)
    x = gradients(args.size)
    module = torch.nn.Conv2d(2, 2, 1)
    module.weight.data = torch.tensor([[1.0, 1], [1, -1]]).reshape(2, 2, 1, 1)
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    for name, layout, function in (
        ("contiguous", "NCHW", apply_contiguous),
        ("channels_last", "NHWC", apply_channels_last),
    ):
        memory_format = getattr(torch, f"{name}_format" if name == "contiguous" else name)
        x = x.contiguous(memory_format=memory_format)
        y = function(pw.Conv(weight, bias, layout=layout, activation="relu"), x)
        assert y.is_contiguous(memory_format=memory_format)
        np.testing.assert_allclose(y, module(x).relu().detach(), atol=1e-5)
        print(f"{name}: {tuple(x.shape)} -> {tuple(y.shape)}, equal to PyTorch within 1e-5")
    shared = x.permute(0, 2, 3, 1).numpy()
    print("x is shared:", shared.__array_interface__["data"][0] == x.data_ptr())
    half = x.contiguous().bfloat16()
    z = as_tensor(pw.Conv(weight, bias, dtype="bfloat16", activation="relu")(as_array(half)))
    np.testing.assert_allclose(z.float(), module(half.float()).relu().detach(), rtol=2**-7, atol=1e-5)
    print(f"bfloat16: {z.dtype}, equal to PyTorch within two roundings")
    if args.plot:
        plot(x, y, args.plot)


if __name__ == "__main__":
    main()
