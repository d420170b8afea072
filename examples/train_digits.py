"""Train a classifier of handwritten digits from 1x1 layers, as in Network in Network, with NumPy and pointwise."""

import argparse
import time

import numpy as np
import pointwise as pw
from sklearn.datasets import load_digits


def patches(images, size=3):
    """Return the neighbourhood of each pixel as channels: (N, 8, 8) -> (N, 8, 8, size * size), with zeros outside."""
    padded = np.pad(images, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.ascontiguousarray(windows.reshape(*images.shape, size * size))


class Network:
    """Layers of 1x1 convolutions with relu, a mean over each quarter of the image, and a 1x1 layer to 10 classes."""

    def __init__(self, rng, channels):
        shapes = [*zip(channels[1:], channels[:-1], strict=True), (10, 4 * channels[-1])]
        self.weights = [rng.normal(0, np.sqrt(2 / c), (k, c)).astype(np.float32) for k, c in shapes]
        self.biases = [np.zeros(len(weight), np.float32) for weight in self.weights]

    def forward(self, x):
        """Return the inputs of all layers, and the scores of the classes."""
        inputs = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            inputs.append(pw.conv(inputs[-1], weight, bias, layout="NHWC", activation="relu"))
        n, h, w, c = inputs[-1].shape
        quarters = inputs[-1].reshape(n, 2, h // 2, 2, w // 2, c).mean(axis=(2, 4)).reshape(n, 4 * c)
        return inputs, quarters, pw.conv(quarters, self.weights[-1], self.biases[-1], layout="NC")

    def gradients(self, x, labels):
        """Return the mean cross-entropy, and its gradients with respect to weights and biases."""
        inputs, quarters, scores = self.forward(x)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        loss = -np.log(shares[rows, labels] + 1e-12).mean()
        shares[rows, labels] -= 1
        grad, dw, db = pw.conv_backward(shares / np.float32(len(labels)), quarters, self.weights[-1], layout="NC")
        gradients = [(dw, db)]
        n, h, w, c = inputs[-1].shape
        grad = (grad / np.float32(h * w / 4)).reshape(n, 2, 1, 2, 1, c)
        grad = np.broadcast_to(grad, (n, 2, h // 2, 2, w // 2, c)).reshape(n, h, w, c)
        for layer in reversed(range(len(inputs) - 1)):
            how = {"y": inputs[layer + 1], "activation": "relu", "layout": "NHWC"}
            grad, dw, db = pw.conv_backward(grad, inputs[layer], self.weights[layer], **how)
            gradients.append((dw, db))
        return loss, gradients[::-1]

    def accuracy(self, x, labels):
        return (self.forward(x)[-1].argmax(axis=1) == labels).mean()


def train(network, x, labels, rng, epochs, batch=64, rate=0.1, momentum=0.9):
    """Train with stochastic gradient descent. Yield the loss of each step."""
    parameters = [array for pair in zip(network.weights, network.biases, strict=True) for array in pair]
    speeds = [np.zeros_like(array) for array in parameters]
    for epoch in range(epochs):
        rate_now = np.float32(rate * (1 - epoch / epochs))
        order = rng.permutation(len(x))
        for begin in range(0, len(x), batch):
            chosen = order[begin : begin + batch]
            loss, gradients = network.gradients(x[chosen], labels[chosen])
            for array, speed, gradient in zip(parameters, speeds, [g for pair in gradients for g in pair], strict=True):
                speed *= np.float32(momentum)
                speed -= rate_now * gradient
                array += speed
            yield loss


def plot(losses, path):
    """Draw the loss of each step, and its mean over 25 steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(losses, color="0.8", label="each step")
    axes.semilogy(np.arange(12, len(losses) - 12), np.convolve(losses, np.ones(25) / 25, "valid"), label="mean of 25")
    axes.set(xlabel="step", ylabel="cross-entropy")
    axes.legend()
    figure.savefig(path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--plot", metavar="FILE.png")
    args = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    x, labels = patches(digits.images[order].astype(np.float32) / 16), digits.target[order]
    training, testing = slice(0, 1437), slice(1437, None)
    network, start = Network(rng, (9, 64, 64)), time.monotonic()
    with pw.num_threads(1):  # these layers are too small for several threads
        losses = list(train(network, x[training], labels[training], rng, args.epochs))
    print(f"{len(losses)} steps, loss {np.mean(losses[:20]):.0f} -> less than 0.1: {np.mean(losses[-20:]) < 0.1}")
    accuracy = network.accuracy(x[testing], labels[testing])
    print(f"more than 95 % of {len(labels[testing])} test images are right: {accuracy > 0.95}")
    print(f"less than a minute: {time.monotonic() - start < 60}")
    if args.plot:
        plot(losses, args.plot)


if __name__ == "__main__":
    main()
