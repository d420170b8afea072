"""Every snippet of the README and of docs/epilogue.md: run, or shown to be the file that CI builds."""

import json
import pathlib
import re
import shlex

import pointwise
import pytest
from pointwise.__main__ import main

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language, text=README):
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"no {language} block"
    return found


def test_python_blocks_of_the_epilogue_run_in_order():
    namespace = {}
    for block in blocks("python", (ROOT / "docs/epilogue.md").read_text()):
        exec(compile(block, "epilogue.md", "exec"), namespace)
    np, pw = namespace["np"], namespace["pw"]
    assert np.isfinite(namespace["grown"]).all()
    assert isinstance(namespace["block"], pw.Chain)


def test_python_blocks_run_in_order(capsys):
    namespace = {}
    threads = pointwise.get_num_threads()
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)
    pointwise.set_num_threads(threads)
    pw, np = namespace["pw"], namespace["np"]
    x, y, both = namespace["x"], namespace["y"], namespace["both"]
    expected = np.maximum(np.einsum("oi,nihw->nohw", namespace["weight"], x) + namespace["bias"][:, None, None], 0)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert np.array_equal(both[:, 32:], y)
    assert np.array_equal(namespace["gated"], namespace["layer"](x * namespace["gate"][:, :, None, None]))
    assert np.array_equal(namespace["z"], namespace["narrow"](namespace["wide"](x), residual=x))
    assert np.array_equal(both[:, :32], x)
    assert namespace["shortcut"].shape == y.shape
    assert namespace["half"].shape == (1, 16, 5, 5)
    assert pw.isa() in capsys.readouterr().out


def console_commands():
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield pytest.param(shlex.split(command), output, id=command)


@pytest.mark.parametrize(("command", "output"), list(console_commands()))
def test_console_output_is_what_the_readme_shows(command, output, capsys):
    assert command[0] == "pointwise"
    assert main(command[1:]) == 0
    printed = capsys.readouterr().out
    assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in output.splitlines()]


def test_cpp_block_is_the_example_that_ci_builds():
    (block,) = blocks("cpp")
    assert block == (ROOT / "examples/cpp/example.cpp").read_text()


def test_cmake_block_is_in_the_example():
    lists = (ROOT / "examples/cpp/CMakeLists.txt").read_text()
    for block in blocks("cmake"):
        for line in block.splitlines():
            assert line in lists


def test_shell_blocks_are_what_ci_runs():
    ci = (ROOT / ".ci/run").read_text()
    built = re.findall(r"\w+", " ".join(re.findall(r"^ *presets\+?=\(([^)]*)\)$", ci, re.MULTILINE)))
    built += re.findall(r"--preset=(\w+)", ci)
    presets = {p["name"] for p in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
    for block in blocks("sh"):
        (line,) = block.splitlines()
        if line.startswith("python3"):
            extra = re.search(r"'\.\[(\w+)\]'", line).group(1)
            assert f'"$(readme {extra})"' in ci
        for preset in re.findall(r"--preset (\w+)", line):
            assert preset in presets
            assert preset in built
