"""A line between a program and its terminal: late both ways, narrow towards the terminal, and with room for everything.

    python -m tests.slow_line DELAY_MS BYTES_PER_S PROGRAM ...

Room for everything is what makes slow lines bad: sshd and sockets take megabytes before anybody has to wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import queue
import subprocess
import sys
import termios
import threading
import time
import tty

_PIECE = 256


def relay(source: int, target: int, delay_s: float, bytes_per_s: float) -> None:
    """Move bytes until the source ends; each arrives `delay_s` after the line has had time for it."""
    line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(source, 65536):
                now_s = time.monotonic()
                for start in range(0, len(data), _PIECE):
                    line.put((now_s, data[start : start + _PIECE]))
        line.put((0.0, b""))

    threading.Thread(target=read, daemon=True).start()
    free_s = 0.0
    while (item := line.get())[1]:
        came_s, data = item
        free_s = max(free_s, came_s) + (len(data) / bytes_per_s if bytes_per_s else 0.0)
        time.sleep(max(free_s + delay_s - time.monotonic(), 0.0))
        os.write(target, data)


def main() -> int:
    """Run the program at the far end of the line."""
    delay_s, bytes_per_s = float(sys.argv[1]) / 1000, float(sys.argv[2])
    tty.setraw(0)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    process = subprocess.Popen(
        sys.argv[3:],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    threading.Thread(target=relay, args=(0, master, delay_s, 0.0), daemon=True).start()
    relay(master, 1, delay_s, bytes_per_s)
    return process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
