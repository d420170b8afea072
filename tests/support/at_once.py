"""Run a function in many Python threads at once."""

import threading


def together(work, count=8):
    """Run work(0), work(1), ... at once. If one of them raises an exception, raise the first exception."""
    barrier, errors = threading.Barrier(count), []

    def run(i):
        try:
            barrier.wait(60)
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
