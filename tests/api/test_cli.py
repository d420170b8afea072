"""Test the output and the files of the command line. Each error must be reported in one line."""

import errno
import io
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pointwise as pw
import pytest
import rich.progress
from children import PYTHON
from pointwise import __main__ as command_line
from pointwise import cli
from pointwise.__main__ import main

COMMANDS = ("bench", "run", "cost", "info", "verify")


def command(line):
    """Run a command line and return its exit status."""
    return main(line.split())


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """Save arrays of small integers in the working directory, and return them. Sums of small integers are exact."""
    rng = np.random.default_rng(1)
    x = rng.integers(-8, 9, (2, 6, 5, 7)).astype(np.float32)
    weight = rng.integers(-8, 9, (4, 6)).astype(np.float32)
    bias = rng.integers(-8, 9, 4).astype(np.float32)
    monkeypatch.chdir(tmp_path)
    for name, array in (("x", x), ("weight", weight), ("bias", bias)):
        np.save(f"{name}.npy", array)
    return x, weight, bias


@pytest.fixture
def refused(capsys):
    """Return a function that runs a command line and returns its line on standard error.

    The function checks that the command fails, prints nothing else, and leaves no file behind.
    """

    def run(*argv, status=2):
        before = sorted(os.listdir())
        assert main(argv) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert err.startswith((f"pointwise {argv[0]}: ", "pointwise: "))
        assert sorted(os.listdir()) == before, "a file was left behind"
        return err

    return run


def subprocess_run(*argv, **keywords):
    return subprocess.run([*PYTHON, "-m", "pointwise", *argv], capture_output=True, text=True, timeout=120, **keywords)


# cost


def printed_cost(out):
    return dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines() if line)


def test_cost_of_the_example(capsys):
    assert main(["cost", "1x32x10x10", "16"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert printed_cost(out) == {
        "params": "512",
        "multiply-adds": "51,200",
        "FLOPs": "102,400",
        "bytes": f"{4 * (3200 + 512 + 1600):,}",
        "intensity": "4.82 FLOP/byte",
        "output": "1x16x10x10",
    }


def test_cost_takes_every_option(capsys):
    argv = "cost 2x9x11x12 8 --bias --layout NHWC --stride 2,3 --padding 1,0 --groups 4 --dtype float64"
    assert command(argv) == 0
    expected = pw.cost(
        (2, 9, 11, 12), 8, layout="NHWC", stride=(2, 3), padding=(1, 0), groups=4, bias=True, dtype="float64"
    )
    found = printed_cost(capsys.readouterr().out)
    assert found["params"] == f"{expected.params:,}" == "32"
    assert found["multiply-adds"] == f"{expected.macs:,}"
    assert found["bytes"] == f"{expected.bytes:,}"
    assert found["output"] == "2x6x4x8" == "x".join(map(str, expected.output_shape))


def test_cost_of_a_1x1_in_front_of_a_5x5(capsys):
    assert command("cost 1x192x28x28 16 --then 5x5 --out 32") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-4:]]
    assert rows == [
        ["params", "multiply-adds"],
        ["5x5", "alone", "153,600", "120,422,400"],
        ["1x1", "then", "5x5", "15,872", "12,443,648"],
        ["saving", "9.68x", "(89.7%)", "9.68x", "(89.7%)"],
    ]


def test_saving_counts_bias_batch_and_output_pixels(capsys):
    assert command("cost 3x8x6x6 2 --bias --layout NCHW --stride 2 --then 3x3 --out 5") == 0
    alone, behind = (line.split() for line in capsys.readouterr().out.splitlines()[-3:-1])
    pixels = 3 * 3 * 3
    assert alone == ["3x3", "alone", f"{9 * 8 * 5 + 5}", f"{pixels * 9 * 8 * 5:,}"]
    assert behind == ["1x1", "then", "3x3", f"{8 * 2 + 2 + 9 * 2 * 5 + 5}", f"{pixels * (8 * 2 + 9 * 2 * 5):,}"]


@pytest.mark.parametrize(("before", "after", "expected"), [(3, 4, "0.75x (-33.3%)"), (0, 4, "-"), (4, 0, "-")])
def test_ratio_without_a_saving(before, after, expected):
    assert cli.cost._ratio(before, after) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "uint8", "int8", "uint16", "int16"])
def test_cost_counts_every_dtype(dtype, capsys):
    assert command(f"cost 2x9x11x12 8 --bias --dtype {dtype}") == 0
    nbytes = pw.cost((2, 9, 11, 12), 8, bias=True, dtype=dtype).bytes
    assert f"bytes          {nbytes:,}\n" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["POINTWISE_ISA", "POINTWISE_THREADING"])
@pytest.mark.parametrize("way", ["module", "option", "script"])
def test_a_wrong_environment_variable_is_one_line(variable, way, tmp_path):
    script = tmp_path / "pointwise"  # like the script that pip installs
    script.write_text("import sys\nfrom pointwise.__main__ import main\nsys.exit(main())\n")
    argv = {"module": ["-m", "pointwise"], "option": ["-X", "utf8", "-mpointwise"], "script": [str(script)]}[way]
    for arguments in ([], ["cost", "1x2x3x4", "5"]):
        done = subprocess.run(
            [*PYTHON, *argv, *arguments], env=os.environ | {variable: "avx3"}, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert re.fullmatch(rf"pointwise: {variable}=avx3: expected .*\n", done.stderr)


@pytest.mark.parametrize("arguments", [["-c", "import pointwise"], ["other.py"], ["-m", "pointwise_user", "pointwise"]])
def test_a_wrong_environment_variable_is_an_import_error_elsewhere(arguments, tmp_path):
    for name in ("other.py", "pointwise_user.py"):
        (tmp_path / name).write_text("import pointwise\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"POINTWISE_ISA": "avx3", "PYTHONPATH": path}
    done = subprocess.run([*PYTHON, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("ImportError: POINTWISE_ISA=avx3: expected one of " + done.stderr.rpartition(" of ")[2])


def test_the_command_line_takes_an_isa_in_capitals():
    environment = os.environ | {"POINTWISE_ISA": "PORTABLE"}
    done = subprocess.run([*PYTHON, "-m", "pointwise", "info"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert re.search(r"^isa +portable$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("1x32x10x10 16 --then 5x5", "--then and --out"),
        ("1x32x10x10 16 --out 5", "--then and --out"),
        ("1x32x10x10 16 --then 5 --out 5", "spatial axis of layout NCHW"),
        ("1x32x10x10 16 --then 0x5 --out 5", "at least 1"),
        ("1x32x10x10 16 --then 5x5 --out 0", "--out: must be at least 1"),
        ("1x32 16 --layout NC --then 1 --out 5", "layout NC"),
        ("1x32x10x10", "C_OUT"),
        ("1x32x10x10 0", "C_OUT: must be at least 1, got 0"),
        ("1x32x10x10 1.5", "whole number, got '1.5'"),
        ("1x32xax10 16", "'1x32xax10'"),
        ("1x32x10 16", "NCHW"),
        ("1x32x10x10 16 --stride 0", "stride must be at least 1, got 0"),
        ("1x32x10x10 16 --stride 1,b", "'1,b'"),
        ("1x32x10x10 16 --stride 1,2,3", "stride"),
        ("1x32x10x10 16 --padding -1", "padding must be at least 0, got -1"),
        ("1x32x10x10 16 --groups 5", "groups must divide"),
        ("1x32x10x10 16 --layout NOPE", "layout"),
        ("1x32x10x10 16 --dtype int32", "--dtype"),
        ("1x32x999999999999x999999999999 16", "int64"),
        ("1x32x10x99999999999999999999 16", "SHAPE"),
    ],
)
def test_cost_refuses(refused, arguments, words):
    assert words in refused("cost", *arguments.split())


def test_cost_needs_neither_rich_nor_matplotlib(python):
    blocked = "import sys; sys.modules.update(rich=None, matplotlib=None, threadpoolctl=None);"
    script = blocked + "from pointwise.__main__ import main; main(['cost', '1x32x10x10', '16'])"
    assert "51,200" in python(script)


# run


def test_run_writes_the_result(arrays, capsys):
    x, weight, _ = arrays
    assert main(["run", "x.npy", "weight.npy", "-o", "y.npy"]) == 0
    assert capsys.readouterr().out == "y.npy: shape (2, 4, 5, 7), dtype float32\n"
    y = np.load("y.npy")
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.einsum("oi,nihw->nohw", weight, x))
    assert sorted(os.listdir()) == ["bias.npy", "weight.npy", "x.npy", "y.npy"]


def test_run_passes_every_option_on(arrays):
    rng = np.random.default_rng(2)
    x = rng.integers(-8, 9, (2, 5, 7, 6)).astype(np.float64)
    np.save("x.npy", x)
    np.save("weight.npy", np.arange(12.0).reshape(4, 3) - 5)
    options = "--bias bias.npy --layout NHWC --stride 2,1 --padding 1,0 --groups 2 --activation relu -o y.npy"
    assert main(["run", "x.npy", "weight.npy", *options.split()]) == 0
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))[:, ::2]
    weight = np.zeros((4, 6))
    weight[:2, :3], weight[2:, 3:] = np.split(np.load("weight.npy"), 2)
    expected = np.maximum(padded @ weight.T + arrays[2], 0)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    assert (expected == 0).any()
    assert np.load("y.npy").dtype == np.float64


def test_run_takes_the_slopes_of_prelu(arrays):
    x, weight, bias = arrays
    assert command("run x.npy weight.npy --bias bias.npy --activation prelu,0.5,-1,0,2 -o y.npy") == 0
    np.testing.assert_array_equal(np.load("y.npy"), pw.conv(x, weight, bias, activation=("prelu", [0.5, -1, 0, 2])))


def test_run_takes_one_stride_for_all_axes(arrays):
    assert command("run x.npy weight.npy --stride 3 --padding 1 -o y.npy") == 0
    assert np.load("y.npy").shape == (2, 4, 3, 3)


def test_run_may_replace_its_own_input(arrays):
    x, weight, _ = arrays
    assert command("run x.npy weight.npy -o x.npy") == 0
    np.testing.assert_array_equal(np.load("x.npy"), np.einsum("oi,nihw->nohw", weight, x))


def test_run_keeps_a_link_and_writes_where_it_points(arrays):
    os.mkdir("elsewhere")
    os.symlink("elsewhere/real.npy", "y.npy")
    assert command("run x.npy weight.npy -o y.npy") == 0
    assert os.path.islink("y.npy")
    assert np.load("elsewhere/real.npy").shape == (2, 4, 5, 7)


def damaged(kind):
    """Return the bytes of a file that does not hold a plain array."""
    buffer = io.BytesIO()
    if kind == "pickled":
        np.save(buffer, np.array([{}, {}]), allow_pickle=True)
        return buffer.getvalue()
    np.save(buffer, np.ones((2, 6, 5, 7), np.float32))
    data = buffer.getvalue()
    return {
        "empty": b"",
        "text": b"hello there\n",
        "truncated": data[:500],
        "no data": data[:128],
        "half a header": data[:20],
        "bad header": data[:10] + b"(((" + data[13:],
        "huge": data[:128].replace(b"(2, 6, 5, 7), }      ", b"(2, 6, 5, 9" + b"9" * 9 + b"),}"),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["pickled", "empty", "text", "truncated", "no data", "half a header", "bad header", "huge"]
)
@pytest.mark.parametrize("place", ["x", "weight", "bias"])
def test_run_refuses_files_that_hold_no_array(arrays, refused, kind, place):
    with open("bad.npy", "wb") as file:
        file.write(damaged(kind))
    names = {"x": "x.npy", "weight": "weight.npy", "bias": "bias.npy"} | {place: "bad.npy"}
    assert "bad.npy" in refused("run", names["x"], names["weight"], "--bias", names["bias"], "-o", "y.npy")


def test_run_never_unpickles(arrays, refused):
    with open("bad.npy", "wb") as file:
        file.write(damaged("pickled"))
    assert "pickled" in refused("run", "bad.npy", "weight.npy", "-o", "y.npy")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("missing.npy weight.npy -o y.npy", "missing.npy: cannot be read: No such file"),
        ("x.npy . -o y.npy", "Is a directory"),
        ("x.npy weight.npy", "-o"),
        ("x.npy weight.npy -o nowhere/y.npy", "nowhere/y.npy: cannot be written: there is no directory"),
        ("x.npy weight.npy -o .", "not the name of a file"),
        ("x.npy weight.npy -o x.npy/y.npy", "there is no directory"),
        ("x.npy weight.npy -o /dev/null", "not a regular file"),
        ("x.npy bias.npy -o y.npy", "weight"),
        ("x.npy weight.npy --layout NHWC -o y.npy", "NHWC"),
        ("x.npy weight.npy --stride 0 -o y.npy", "stride"),
        ("x.npy weight.npy --stride 2,1,1 -o y.npy", "stride"),
        ("x.npy weight.npy --groups 0 -o y.npy", "--groups"),
        ("x.npy weight.npy --activation nope -o y.npy", "'nope'"),
        ("x.npy weight.npy --activation clip,low -o y.npy", "'clip,low'"),
        ("x.npy weight.npy --padding 100000000 -o y.npy", "y.npy: cannot be written: "),
        ("x.npy weight.npy --axis 1 --layout NHWC -o y.npy", "--axis cannot be combined with --layout"),
        ("x.npy weight.npy --axis 4 -o y.npy", "axis must be at least -4 and less than 4 for x of shape (2, 6, 5, 7)"),
        ("x.npy weight.npy --axis -1 -o y.npy", "x must have 6 channels (axis 3), got shape (2, 6, 5, 7)"),
        ("x.npy weight.npy --bias weight.npy -o y.npy", "bias"),
    ],
)
def test_run_refuses(arrays, refused, arguments, words):
    assert words in refused("run", *arguments.split())


def test_a_name_with_a_line_end_is_still_one_line(arrays, refused):
    assert "no file.npy: cannot be read" in refused("run", "no\nfile.npy", "weight.npy", "-o", "y.npy")


def test_run_names_the_dtype_that_it_refuses(arrays, refused):
    np.save("x.npy", np.ones((2, 6, 5, 7), np.int32))
    assert "int32" in refused("run", "x.npy", "weight.npy", "-o", "y.npy")


def test_a_failed_run_leaves_the_old_result_alone(arrays, refused, monkeypatch):
    with open("y.npy", "wb") as file:
        file.write(b"old")
    refused("run", "x.npy", "bias.npy", "-o", "y.npy")

    def full_disk(file, begin, nbytes):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full_disk)
    assert "y.npy: cannot be written: No space" in refused("run", "x.npy", "weight.npy", "-o", "y.npy")
    with open("y.npy", "rb") as file:
        assert file.read() == b"old"


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def write():
        with cli.files.replacing(str(tmp_path / "y.npy")) as file:
            file.write(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anything")
def test_run_does_not_replace_a_read_only_file(arrays, refused):
    with open("y.npy", "wb"):
        pass
    os.chmod("y.npy", 0o444)
    assert "read-only" in refused("run", "x.npy", "weight.npy", "-o", "y.npy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("shape", "options", "call"),
    [
        ((6, 40, 50), ["--layout", "CHW"], {"layout": "CHW"}),
        ((40, 50, 6), ["--layout", "hwc", "--stride", "3,2"], {"layout": "HWC", "stride": (3, 2)}),
        ((1, 6, 41, 50), ["--stride", "2", "--padding", "0,1"], {"stride": 2, "padding": (0, 1)}),
        ((1, 6, 21, 20), ["--padding", "1"], {"padding": 1}),
        ((5, 6, 4, 3), ["--padding", "2"], {"padding": 2}),
        ((700, 6), ["--layout", "NC"], {"layout": "NC"}),
        ((6,), ["--layout", "C"], {"layout": "C"}),
        ((6, 0, 4), ["--layout", "CHW"], {"layout": "CHW"}),
    ],
)
def test_run_in_blocks(arrays, monkeypatch, shape, options, call, order):
    """The result in blocks has the bits of one call. The file of the result is an ordinary .npy file."""
    monkeypatch.setattr(cli.run, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(cli.files, "LEAST_MAPPED", 0 if 0 not in shape else 1 << 20)
    x = np.asarray(np.random.default_rng(3).standard_normal(shape), np.float32, order=order)
    np.save("x.npy", x)
    assert main(["run", "x.npy", "weight.npy", *options, "--activation", "gelu", "-o", "y.npy"]) == 0
    expected = pw.conv(x, np.load("weight.npy"), activation="gelu", **call)
    y = np.load("y.npy")
    assert y.dtype == expected.dtype
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("mapped", [False, True])
def test_run_with_16_bit_numbers(half, mapped, tmp_path, monkeypatch, capsys):
    """A file does not name bfloat16, so elements of 2 bytes are read as bfloat16."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.files, "LEAST_MAPPED", 0 if mapped else 1 << 20)
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(half) for shape in ((2, 3, 5, 7), (4, 3)))
    np.save("x.npy", x)
    np.save("weight.npy", weight)
    for dtype in (half, np.dtype("float32")):
        options = [] if dtype == half else ["--out-dtype", "float32"]
        assert main(["run", "x.npy", "weight.npy", *options, "-o", "y.npy"]) == 0
        assert capsys.readouterr().out == f"y.npy: shape (2, 4, 5, 7), dtype {dtype}\n"
        y = np.load("y.npy").view(dtype)
        assert y.tobytes() == pw.conv(x, weight, out_dtype=dtype).tobytes()


def test_run_with_bfloat16_without_ml_dtypes(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((1, 3, 2, 2), "bfloat16"))
    np.save("weight.npy", np.ones((4, 3), np.float32))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    line = refused("run", "x.npy", "weight.npy", "-o", "y.npy")
    assert "x.npy: dtype bfloat16 needs ml_dtypes: run pip install ml_dtypes" in line


@pytest.mark.parametrize("options", [["--layout", "HWC"], ["--axis", "-1"]])
def test_run_to_integers(tmp_path, monkeypatch, capsys, refused, options):
    """With --out-dtype, the result has the integers of `out_dtype`, also in several blocks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.run, "BLOCK_BYTES", 1000)
    rng = np.random.default_rng(0)
    x, weight = rng.integers(0, 256, (50, 40, 3), np.uint8), rng.standard_normal((2, 3), np.float32)
    np.save("x.npy", x)
    np.save("weight.npy", weight)
    assert main(["run", "x.npy", "weight.npy", *options, "--out-dtype", "int8", "-o", "y.npy"]) == 0
    assert capsys.readouterr().out == "y.npy: shape (50, 40, 2), dtype int8\n"
    y = np.load("y.npy")
    assert y.dtype == np.int8
    np.testing.assert_array_equal(y, pw.mix(x, weight, out_dtype=np.int8))
    for dtype, words in (("int32", "out_dtype must be None or float32"), ("nothing", "out_dtype must be None or")):
        assert words in refused("run", "x.npy", "weight.npy", *options, "--out-dtype", dtype, "-o", "y.npy")


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((300, 6), 1), ((6, 300), 0), ((6,), 0), ((2, 3, 4, 5, 6, 3), -2)])
def test_run_along_an_axis(arrays, monkeypatch, shape, axis, each):
    monkeypatch.setattr(cli.run, "BLOCK_BYTES", 1000)
    rng = np.random.default_rng(4)
    each = each and axis != 0
    x, matrix = rng.integers(0, 9, shape).astype(np.uint8), rng.integers(-9, 9, (4, 6)).astype(np.float32)
    if each:
        matrix = rng.integers(-9, 9, (shape[0], 4, 6)).astype(np.float32)
    np.save("x.npy", x)
    np.save("matrix.npy", matrix)
    assert main(["run", "x.npy", "matrix.npy", f"--axis={axis}", "--bias", "bias.npy", "-o", "y.npy"]) == 0
    np.testing.assert_array_equal(np.load("y.npy"), pw.mix(x, matrix, np.load("bias.npy"), axis=axis))


def test_run_checks_the_number_of_matrices(arrays, refused):
    np.save("matrices.npy", np.ones((3, 4, 6), np.float32))
    words = refused("run", "x.npy", "matrices.npy", "--axis", "1", "-o", "y.npy")
    assert "matrix must have 2 matrices" in words
    assert "(3, 4, 6) for x of shape (2, 6, 5, 7)" in words
    np.save("matrices.npy", np.ones((2, 4, 5), np.float32))
    words = refused("run", "x.npy", "matrices.npy", "--axis", "1", "-o", "y.npy")
    assert "got shape (2, 6, 5, 7) for matrix of shape (2, 4, 5)" in words


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers need the address space")
def test_run_needs_less_memory_than_its_arrays(tmp_path, python, monkeypatch):
    """The memory of the process is limited to less than x and the result."""
    monkeypatch.chdir(tmp_path)
    shape = (4, 8192, 4096)
    np.lib.format.open_memmap("x.npy", "w+", np.float32, shape)[:, -1, -1] = range(4)  # a sparse file of 512 MiB
    np.save("weight.npy", np.array([[1, 10, 100, 1000]], np.float32))
    script = """
import resource
from pointwise.__main__ import main
resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, -1))
main("run x.npy weight.npy --layout CHW -o y.npy".split())
"""
    assert python(script, OPENBLAS_NUM_THREADS="1") == "y.npy: shape (1, 8192, 4096), dtype float32"
    y = np.load("y.npy", mmap_mode="r")
    assert y[0, -1, -1] == 3210
    assert not y[0, ::97].any()


def test_run_shows_progress_on_a_terminal(arrays, monkeypatch, capsys):
    monkeypatch.setattr(cli.run, "BLOCK_BYTES", 300)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown = []
    monkeypatch.setattr(rich.progress.Progress, "advance", lambda self, task: shown.append(task))
    assert command("run x.npy weight.npy -o y.npy") == 0
    assert len(shown) == 2
    assert capsys.readouterr().out == "y.npy: shape (2, 4, 5, 7), dtype float32\n"


# info, help, version


def test_info(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["pointwise"] == pw.__version__
    assert lines["isa"] == pw.isa()
    assert lines["numpy"] == np.__version__
    assert lines["cpu"]
    assert lines["caches"]
    assert re.search(r"\brich \S+, matplotlib \S+", lines["optional"])


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pointwise {pw.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(capsys, command):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: pointwise {command}" in out
    assert re.search(rf"examples?: .*pointwise {command}", out)
    assert main(["--help"]) == 0
    assert f"\n    {command} " in capsys.readouterr().out


def test_the_help_of_bench_names_the_peers(capsys):
    assert main(["bench", "--help"]) == 0
    assert "numpy, torch, onnxruntime, openvino, xnnpack (default: numpy)" in " ".join(capsys.readouterr().out.split())


def test_bench_imports_no_peer_that_is_not_asked_for(python):
    script = """
import sys
from pointwise.__main__ import main
main(["bench", "--help"])
peers = {"torch", "onnxruntime", "onnx", "openvino", "ai_edge_litert", "flatbuffers"}
assert not peers & set(sys.modules), peers & set(sys.modules)
"""
    python(script)


def test_no_command_shows_the_help(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(command in err for command in COMMANDS)


@pytest.mark.parametrize("argv", [["nope"], ["--nope"], ["cost", "1x1x1x1", "1", "--nope"], ["info", "surplus"]])
def test_usage_errors_are_one_line(refused, argv):
    refused(*argv)


# the process: exit status and standard output


def test_module_and_script_are_the_same_command():
    script = os.path.join(os.path.dirname(sys.executable), "pointwise")
    argv = ["cost", "1x32x10x10", "16"]
    module = subprocess_run(*argv)
    assert (module.returncode, module.stderr) == (0, "")
    if os.path.exists(script):
        assert subprocess.run([script, *argv], capture_output=True, text=True).stdout == module.stdout


def test_exit_status_of_the_process():
    done = subprocess_run("cost", "1x32x10x10")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def cost_into(stdout, unbuffered):
    """Run `cost` with a standard output that cannot be written. Return the exit status and the standard error."""
    argv = [*PYTHON, *(["-u"] if unbuffered else []), "-m", "pointwise", "cost", "1x32x10x10", "16"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(argv, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, timeout=120)
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_reader_that_leaves_gets_no_traceback(unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert cost_into(writer, unbuffered) == (128 + signal.SIGPIPE, "")
    finally:
        os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_full_disk_is_one_line(unbuffered):
    with open("/dev/full", "wb") as full:
        status, message = cost_into(full, unbuffered)
    assert status == 2
    assert re.fullmatch(r"pointwise.*: No space left on device\n", message)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 2, "pointwise info: out of memory\n"),
        (OSError(errno.EIO, "Input/output error"), 2, "pointwise info: Input/output error\n"),
    ],
)
def test_interruptions_have_no_traceback(monkeypatch, capsys, error, status, message):
    def fail(args):
        raise error

    monkeypatch.setattr(command_line.info, "run", fail)
    assert main(["info"]) == status
    assert capsys.readouterr().err == message


def test_a_name_that_the_terminal_cannot_show(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1, 3, 2, 2), np.float32))
    np.save(tmp_path / "w.npy", np.ones((2, 3), np.float32))
    argv = [*PYTHON, "-m", "pointwise", "run", "x.npy", "w.npy", "-o", "\N{LATIN SMALL LETTER E WITH ACUTE}.npy"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("\\xe9.npy: shape (1, 2, 2, 2)")


def test_standard_output_closed_before_the_start():
    argv = [*PYTHON, "-m", "pointwise", "cost", "1x3x4x4", "2"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *argv], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
