"""Short tests of an installed wheel, which need only NumPy: python -I smoke.py"""

import pathlib
import sys
import sysconfig

import numpy as np
import pointwise as pw


def main():
    package = pathlib.Path(pw.__file__).parent
    assert package.is_relative_to(sysconfig.get_path("platlib")), f"this is not the installed package: {package}"
    for name in ("py.typed", "_core.pyi", "cli/verify.json", "layers/resnet50.csv"):
        assert (package / name).exists(), f"the wheel lacks {name}"

    x, weight = np.full((2, 32, 10, 10), 2, np.float32), np.ones((16, 32), np.float32)
    for threads in (1, 2):
        with pw.num_threads(threads):
            assert (pw.conv(x, weight) == 64).all()
            assert (pw.Chain([pw.Conv(weight), pw.Conv(weight.T)])(x) == 1024).all()
    assert (pw.mix(np.full((4, 5, 3), 200, np.uint8), np.eye(3), out_dtype=np.uint8) == 200).all()
    assert pw.conv_grad_weight(pw.conv(x, weight), x).shape == weight.shape
    assert pw.cost(x.shape, 16).params == 512
    print(f"pointwise {pw.__version__} works on Python {sys.version.split()[0]}, NumPy {np.__version__}, {pw.isa()}")


if __name__ == "__main__":
    main()
