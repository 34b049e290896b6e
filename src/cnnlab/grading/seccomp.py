"""System calls that a submission may not make: a filter that stays, whatever its process does.

What a submission may use is counted where it can be: in its process. These calls would give it memory that
belongs to no process (files in memory, System V's shared memory, queues and semaphores, file systems in
namespaces of its own), more processes, a way round the network namespace (vsock), the keyring of who started
the grader, or parts of the kernel that no network needs and that have often had holes. Threads remain.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterator

# Numbers from <asm/unistd.h> of x86_64 and of aarch64.
FORBIDDEN = {
    "fork": (57, None),
    "vfork": (58, None),
    "unshare": (272, 97),
    "setns": (308, 268),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "ptrace": (101, 117),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_… of <linux/audit.h>
OTHER_TABLE = 0x40000000  # from this number on x86_64 has the calls of x32 once more

# From <linux/bpf_common.h>, <linux/seccomp.h>, <linux/sched.h> and <linux/prctl.h>.
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16  # where they stand in what the filter looks at
THREAD = 0x10000
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2

Instruction = tuple[int, int, int, int]  # code, how many to skip if true, and if not, operand


def forbid() -> None:
    """Put the filter on this thread, and on all that it will start.

    Raises
    ------
    OSError
        If the system has no such filters, or the numbers for this machine are not known here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _program(platform.machine()))
    instructions = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(code) // 8, ctypes.addressof(instructions))
    for arguments in ((NO_NEW_PRIVILEGES, 1, 0), (SET_SECCOMP, FILTER, program)):
        if libc.prctl(*arguments, 0, 0):
            number = ctypes.get_errno()
            raise OSError(number, f"seccomp: {os.strerror(number)}")


def _program(machine: str) -> Iterator[Instruction]:
    if machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"no list of system calls for {machine}")
    table = list(MACHINES).index(machine)
    yield LOAD, 0, 0, MACHINE
    yield EQUAL, 1, 0, MACHINES[machine]
    yield RETURN, 0, 0, ERROR | errno.EPERM
    yield LOAD, 0, 0, NUMBER
    if machine == "x86_64":
        yield AT_LEAST, 0, 1, OTHER_TABLE
        yield RETURN, 0, 0, ERROR | errno.EPERM
    for numbers in FORBIDDEN.values():
        if (number := numbers[table]) is not None:
            yield EQUAL, 0, 1, number
            yield RETURN, 0, 0, ERROR | errno.EPERM
    yield EQUAL, 0, 1, CLONE3[table]  # its flags cannot be looked at; the C library then uses `clone`
    yield RETURN, 0, 0, ERROR | errno.ENOSYS
    for number, test, operand, error in (
        (CLONE[table], ANY_BIT, THREAD, errno.EPERM),
        (SOCKET[table], EQUAL, int(socket.AF_UNIX), errno.EAFNOSUPPORT),
    ):
        yield EQUAL, 0, 4, number
        yield LOAD, 0, 0, FIRST_ARGUMENT
        yield test, 1, 0, operand
        yield RETURN, 0, 0, ERROR | error
        yield RETURN, 0, 0, ALLOW
    yield RETURN, 0, 0, ALLOW
