"""Ctrl-C in the middle of what must not be interrupted."""

from __future__ import annotations

import signal
import threading

import pytest

from sam3port.tuning.interrupts import interrupts_wait


def test_an_interrupt_comes_when_the_block_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_wait():
        signal.raise_signal(signal.SIGINT)
        done.append("what came after it")
    assert done == ["what came after it"]


def test_the_handler_from_before_is_back_whatever_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="broken"), interrupts_wait():
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with interrupts_wait():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
