"""What Python's multiprocessing.shared_memory makes of the same work. It speaks the protocol of package side.

    shm.py KIND PIN TARGET_NS [SIZE]
"""
import math
import sys
import time
from multiprocessing import shared_memory


def create(size):
    def loop(n):
        for _ in range(n):
            s = shared_memory.SharedMemory(create=True, size=size)
            s.close()
            s.unlink()
    return loop, lambda: None


def attach(size):
    s = shared_memory.SharedMemory(create=True, size=size)

    def loop(n):
        for _ in range(n):
            shared_memory.SharedMemory(name=s.name).close()

    def close():
        s.close()
        s.unlink()
    return loop, close


def hold(size):
    """for the study of deaths: says the segment's name and waits to be killed"""
    s = shared_memory.SharedMemory(create=True, size=size)
    print("/dev/shm/" + s.name.lstrip("/"), flush=True)
    sys.stdin.read()
    s.close()
    s.unlink()


def timed(loop, n):
    begin = time.perf_counter_ns()
    loop(n)
    return time.perf_counter_ns() - begin


def main():
    kind, _, target, *args = sys.argv[1:]
    target = float(target)
    if kind == "hold":
        return hold(int(args[0]))
    loop, close = {"create": create, "attach": attach}[kind](int(args[0]))
    print("ready", flush=True)
    n, warm = 1, False
    for _ in sys.stdin:
        while True:  # a try that is over too soon does not count, and is made again with more: as the Go side does it (pace in work.go)
            if not warm:
                timed(loop, n)
                warm = True
            done, took = n, timed(loop, n)
            if took < target / 2 or took > target * 2:
                n = max(1, math.ceil(n * min(8, target / took)))
            if took >= target / 2:
                break
        print(took / done, flush=True)
    close()


main()
