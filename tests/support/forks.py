"""Run scripts in forks of one interpreter that has imported NumPy.

Importing NumPy takes most of the time of a short script. A fork does not import NumPy again. Only forks import
pointwise. The interpreter reads tasks from its standard input. Each task is a line of JSON: a script, its environment,
its working folder and the paths of its output. After each task, the interpreter prints the exit status of the fork.
"""

import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile

from children import python_command


class Forks:
    """The interpreter that forks, and the folder with the output of a script."""

    def __init__(self):
        command = python_command("import forks; forks.serve()")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
        self.process = subprocess.Popen(command["args"], env=command["env"], text=True, **pipes)
        self.temporary = tempfile.TemporaryDirectory()

    def run(self, command):
        """Run a script in a fork. Takes what `python_command` returns. Return a `subprocess.CompletedProcess`."""
        *_, flag, script = command["args"]
        assert flag == "-c", "forks run scripts, not files"
        paths = [os.path.join(self.temporary.name, name) for name in ("stdout", "stderr")]
        task = {"script": script, "environment": command["env"], "folder": os.getcwd(), "paths": paths}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], command["timeout"])[0]:
            self.end()
            raise subprocess.TimeoutExpired(command["args"], command["timeout"])
        status = self.process.stdout.readline()
        output = [pathlib.Path(path).read_text() for path in paths]
        return subprocess.CompletedProcess(command["args"], int(status), *output)

    def end(self):
        """Kill the interpreter and its forks, and delete the folder."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        with self.process:  # closes the pipes
            pass
        self.temporary.cleanup()


def serve():
    """Fork for each task. The fork runs the script of the task as `python -c` does."""
    import numpy  # noqa: F401

    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        return
    os.environ.clear()
    os.environ.update(task["environment"])
    os.chdir(task["folder"])
    for number, path in enumerate([os.devnull, *task["paths"]]):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    exec(compile(task["script"], "<string>", "exec"), vars(sys.modules["__main__"]))
