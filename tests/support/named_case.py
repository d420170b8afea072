"""Run cases in a child process that may crash: python named_case.py SCRIPT SECTION

The child is `python SCRIPT SECTION FILE`. If the child fails, the last line of standard error shows the contents of
FILE, which name the case. This process imports nothing else, so that it starts fast.
"""

import os
import subprocess
import sys
import tempfile


def main(script, section):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "case")
        status = subprocess.run([sys.executable, script, section, path]).returncode
        if status != 0:
            case = "no case"
            if os.path.exists(path):
                with open(path) as file:
                    case = file.read().rstrip()
            sys.exit(f"ended with {status} in {case}")


if __name__ == "__main__":
    main(*sys.argv[1:])
