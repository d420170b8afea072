"""Run child processes at the same time as the tests: python background.py FOLDER WORKERS

FOLDER/commands.json holds the arguments of `subprocess.run` for each child. FOLDER/N.json receives the result of child
N. If FOLDER/waiting exists, the tests only wait for results, so one more child runs on their CPU. A separate process
starts the children, because tests change functions and environment variables of their process.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time


class Background:
    """Child processes of tests, in the order of the tests."""

    def __init__(self, commands):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        (self.folder / "commands.json").write_text(json.dumps(commands))
        workers = max(1, len(os.sched_getaffinity(0)) - 1)  # leaves one CPU to the tests
        self.process = subprocess.Popen([sys.executable, __file__, self.folder, str(workers)], start_new_session=True)

    def result(self, number):
        """Wait for a child process, and return its `subprocess.CompletedProcess`."""
        path = self.folder / f"{number}.json"
        (self.folder / "waiting").touch()
        while not path.exists():
            ended = self.process.poll() is not None
            if ended and not path.exists():
                raise RuntimeError(f"background.py has ended: exit status {self.process.returncode}")
            time.sleep(0.05)
        return subprocess.CompletedProcess(**json.loads(path.read_text()))

    def end(self):
        """Kill the child processes that still run, and delete the folder."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self.temporary.cleanup()


def run(folder, number, command):
    try:
        done = vars(subprocess.run(**command, capture_output=True, text=True))
    except subprocess.TimeoutExpired as error:
        done = {"args": command["args"], "returncode": -1, "stdout": "", "stderr": str(error)}
    unfinished = folder / f"{number}.tmp"
    unfinished.write_text(json.dumps(done))
    unfinished.rename(folder / f"{number}.json")


def main(folder, workers):
    """Run the commands. Those that may take longest start first, so that no CPU is idle at the end."""
    commands = json.loads((folder / "commands.json").read_text())
    numbers = iter(sorted(range(len(commands)), key=lambda number: -commands[number]["timeout"]))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            run(folder, number, commands[number])

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (folder / "waiting").exists():
            work()
            break
        time.sleep(0.1)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
