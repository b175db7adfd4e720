"""Threads: one model for many sessions, one session for many threads, and the interpreter's lock."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import edgec
from tests.api.networks import heavy, scaled


def test_one_session_serves_threads_with_different_shapes(rng):
    network = scaled()
    session = edgec.Session(network.data)
    inputs = [rng.standard_normal((1 + i % 5, 4)).astype(np.float32) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for x, y in zip(inputs, pool.map(session, inputs)):
            np.testing.assert_array_equal(y, network.oracle(x))


def test_one_model_serves_sessions_in_many_threads(rng):
    network = heavy(65)
    model = edgec.Model.from_bytes(network.data)
    inputs = [rng.standard_normal((65, 65)).astype(np.float32) for _ in range(8)]
    want = [edgec.Session(model)(x) for x in inputs]

    def work(i):
        session = edgec.Session(model, threads=1 + i % 2)
        return [session(inputs[i]) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        for i, results in enumerate(pool.map(work, range(8))):
            for y in results:
                np.testing.assert_array_equal(y, want[i])


def test_other_threads_work_while_a_session_runs(rng):
    session = edgec.Session(heavy(512).data)
    x = rng.standard_normal((512, 512)).astype(np.float32)
    ticks = 0
    seen = []

    def run():
        for _ in range(20):
            before = ticks
            session(x)
            seen.append(ticks - before)

    # The interpreter takes no lock away by itself: ticks during a run prove that the run gave it up.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            ticks += 1
            time.sleep(0)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(seen) == 20
    assert max(seen) > 0


def test_cancel_from_another_thread(rng):
    """A session that is cancelled either raises CancelledError or has finished before; afterwards it works again."""
    session = edgec.Session(heavy(256).data)
    x = rng.standard_normal((256, 256)).astype(np.float32)
    want = session(x)
    cancelled = []
    stop = threading.Event()

    def run():
        while not stop.is_set():
            try:
                np.testing.assert_array_equal(session(x), want)
            except edgec.CancelledError:
                cancelled.append(True)
                stop.set()

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < deadline:
        session.cancel()
        time.sleep(0)
    stop.set()
    thread.join()
    assert cancelled
    for _ in range(2):  # a cancel that came after the last run may stop the next one, never more
        try:
            np.testing.assert_array_equal(session(x), want)
            break
        except edgec.CancelledError:
            continue
    else:
        pytest.fail("the session stays cancelled")
