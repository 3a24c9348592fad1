"""The program that DeepGEMM runs as its compiler: it reports to the monitor, then runs the real compiler, or refuses.

nvcc_monitor.sh runs it in an isolated interpreter without site-packages, and it imports only the standard library: each
millisecond here delays a refusal. The directory that KREGISTRY_MONITOR names holds the mode and the monitor's socket.
"""

import json
import os
import socket
import sys
import time

#: How long this program waits at most for the monitor: until it has read the stack of the call, and until it has noted
#: the end. The process that compiles may end right afterwards, and the monitor's thread with it.
_ANSWER_SECONDS = 1.0
REFUSAL = "kregistry: the JIT monitor is in mode 'error', so nothing is compiled while requests are served"


def main(arguments: "list[str]") -> int:
    home, compiler = os.environ["KREGISTRY_MONITOR"], os.environ["KREGISTRY_MONITORED_NVCC"]
    mode = _read(os.path.join(home, "mode"))
    source = next((argument for argument in arguments if argument.endswith(".cu")), "")
    if mode in ("", "off") or not source:
        os.execv(compiler, [compiler, *arguments])
    channel = _Channel(os.path.join(home, "socket"))
    started = time.time()
    refuse = mode == "error"
    caller, child = _caller()
    channel.send(caller=caller, child=child, time=started, source=_read(source), refuse=refuse)
    if refuse:
        code = 1
        print(REFUSAL, flush=True)
    else:
        child = os.posix_spawn(compiler, [compiler, *arguments], os.environ)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    channel.wait(_ANSWER_SECONDS)
    channel.send(code=code, seconds=time.time() - started)
    channel.wait(_ANSWER_SECONDS)
    channel.close()
    return code if code >= 0 else 128 - code


class _Channel:
    """Sends lines of JSON to the monitor. If the monitor has ended, they are dropped and the compile goes on."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(1.0)
        try:
            self._socket.connect(path)
            self._open = True
        except OSError:
            self._open = False

    def send(self, **message: object) -> None:
        if self._open:
            try:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                self._open = False

    def wait(self, seconds: float) -> None:
        if self._open:
            self._socket.settimeout(seconds)
            try:
                self._socket.recv(1)
            except OSError:
                pass

    def close(self) -> None:
        self._socket.close()


def _caller() -> "tuple[int, int]":
    """(process that DeepGEMM runs in, its child that leads to this process). Shells in between are skipped."""
    child, pid = os.getpid(), os.getppid()
    while pid > 1 and _read(f"/proc/{pid}/comm").strip() in ("sh", "dash", "bash", "busybox"):
        child, pid = pid, int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])
    return pid, child


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
