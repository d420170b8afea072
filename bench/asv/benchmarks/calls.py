"""Ten calls, one for each task of the guide, on one thread. airspeed velocity compares their times between commits.

    pip install --group asv && cd bench/asv
    asv run --quick --python=same     # the installed pointwise
    asv run main~10..main              # builds each commit in an environment of its own
    asv publish && asv preview

`pointwise bench` measures more: all layers of networks, several threads, and other libraries.
"""

import ml_dtypes
import numpy as np
import pointwise as pw


class Calls:
    """Layers and arrays of random numbers, which are the same in each run."""

    def setup(self):
        pw.set_num_threads(1)
        rng = np.random.default_rng(0)

        def reals(*shape, dtype=np.float32):
            return rng.standard_normal(shape, np.float32).astype(dtype)

        def layer(c_in, c_out, **options):
            return pw.Conv(reals(c_out, c_in), reals(c_out), **options)

        self.pixel, self.classifier = reals(1, 2048), layer(2048, 1000, layout="NC")
        self.maps, self.reduce = reals(1, 256, 56, 56), layer(256, 64, activation="relu")
        self.expand, self.small = layer(512, 2048, activation="relu"), reals(1, 512, 7, 7)
        self.last, self.last_layer = reals(1, 14, 14, 512), layer(512, 512, layout="NHWC", activation="relu6")
        self.bottleneck = pw.Chain([self.reduce, layer(64, 256)])
        self.halves = reals(1, 256, 56, 56, dtype=ml_dtypes.bfloat16)
        self.bfloat16 = pw.Conv(reals(64, 256, dtype=ml_dtypes.bfloat16))
        self.image = rng.integers(0, 256, (1080, 1920, 3), np.uint8)
        self.sepia = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], np.float32)
        self.cube, self.unmix = reals(200, 128, 128), layer(200, 5, layout="CHW")
        self.bytes = rng.integers(0, 256, (1, 256, 56, 56), np.uint8)
        signed = rng.integers(-128, 128, (64, 256), np.int8)
        self.quantized = pw.QConv(0.02, np.uint8(128), signed, 0.01, np.int8(0), 0.5, np.uint8(0))
        self.grad = reals(1, 64, 56, 56)

    def time_single_pixel(self):
        self.classifier(self.pixel)

    def time_reduction(self):
        self.reduce(self.maps)

    def time_small_image(self):
        self.expand(self.small)

    def time_channels_last(self):
        self.last_layer(self.last)

    def time_chain(self):
        self.bottleneck(self.maps)

    def time_bfloat16(self):
        self.bfloat16(self.halves)

    def time_colour_matrix(self):
        pw.mix(self.image, self.sepia, out_dtype=np.uint8)

    def time_spectral_cube(self):
        self.unmix(self.cube)

    def time_quantized(self):
        self.quantized(self.bytes)

    def time_gradient_of_weights(self):
        pw.conv_grad_weight(self.grad, self.maps)
