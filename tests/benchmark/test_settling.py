"""The next entry starts when the threads of the last one sleep."""

import subprocess
import sys
import time

import pytest

from sottovoce.benchmark.timing.settling import INTERVAL_S, LONGEST_S, wait_until_idle

SPIN = """
import sys, threading, time
def spin():
    until = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < until:
        pass
threading.Thread(target=spin).start()
print("answered", flush=True)
time.sleep(60)
"""


def waited_for(spinning_s: float) -> float:
    with subprocess.Popen(
        [sys.executable, "-c", SPIN, str(spinning_s)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "answered\n"
            return wait_until_idle(process.pid)
        finally:
            process.kill()


def test_a_spinning_thread_is_waited_for() -> None:
    assert waited_for(0.4) > 0.3


def test_the_wait_for_a_thread_that_never_sleeps_is_limited() -> None:
    assert waited_for(60) < LONGEST_S + 0.5


def test_a_process_that_sleeps_or_has_ended_costs_an_interval() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        time.sleep(1)  # Python has started
        assert wait_until_idle(process.pid) < 20 * INTERVAL_S
        process.kill()
    assert wait_until_idle(process.pid) < 20 * INTERVAL_S


@pytest.mark.skipif(sys.platform != "linux", reason="Linux numbers the CPU clocks of processes so")
def test_the_clock_of_a_process_is_that_of_the_system() -> None:
    import psutil

    from sottovoce.benchmark.timing.settling import _used_s

    own = psutil.Process().cpu_times()
    assert _used_s(psutil.Process().pid) == pytest.approx(own.user + own.system, abs=0.1)
