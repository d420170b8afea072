"""Fuzz the Python functions, guided by coverage (pip install atheris).

python tests/fuzz/python_fuzzer.py [DIR] [-max_total_time=60]      takes libFuzzer's options; saves new inputs in DIR
python tests/fuzz/python_fuzzer.py --unpack DIR                    writes the saved inputs of the repository to DIR
"""

import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "support"))


def unpack(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i, line in enumerate((here / "corpus" / "python.hex").read_text().splitlines()):
        (folder / str(i)).write_bytes(bytes.fromhex(line.partition("#")[0]))


def main():
    import atheris

    # Instruments the target, too. Its branches turn an input into a call, so their coverage shows new kinds of calls.
    with atheris.instrument_imports(include=["pointwise", "python_target"]):
        from python_target import one_input

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--unpack"]:
        unpack(pathlib.Path(sys.argv[2]))
    else:
        main()
