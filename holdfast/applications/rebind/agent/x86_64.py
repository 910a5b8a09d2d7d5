"""All machine code that is put into processes on x86-64, as listings.

Every program leads its thread back into code of ours or of its own, whenever we die: see `harbour`.
The listings are the source; `tests/unit/applications/rebind/agent/test_machine_code.py` lets GNU as
assemble them and compares. Instruction formats: Intel SDM, volume 2.
"""

from __future__ import annotations

from holdfast.applications.rebind.agent.assembler import Machine, Program

GENERAL_REGISTERS = (
    *("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
"""All but the stack pointer."""

_MOVABS = {
    **{name: bytes((0x48, 0xB8 + number)) for number, name in enumerate(
        ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"))},
    **{f"r{number}": bytes((0x49, 0xB0 + number)) for number in range(8, 16)},
}  # fmt: skip
"""REX.W + B8+r: 64 bits into a register; the flags stay as they are."""

MACHINE = Machine(
    name="x86_64",
    plain={
        "syscall": b"\x0f\x05",
        "popfq": b"\x9d",
        "test eax, eax": b"\x85\xc0",
        "test rax, rax": b"\x48\x85\xc0",
        "xor edi, edi": b"\x31\xff",
        "xor esi, esi": b"\x31\xf6",
        "xor r10d, r10d": b"\x45\x31\xd2",
        "lea rsi, [r14+16]": b"\x49\x8d\x76\x10",
        "lea rdx, [r14+16]": b"\x49\x8d\x56\x10",
        "mov rax, [r14+16]": b"\x49\x8b\x46\x10",
        "add rax, [r14+24]": b"\x49\x03\x46\x18",
        "sub rax, rdx": b"\x48\x29\xd0",
        "cmp rax, [rdx]": b"\x48\x3b\x02",
        "mov rax, [rbx]": b"\x48\x8b\x03",
        "mov rdi, [rbx+8]": b"\x48\x8b\x7b\x08",
        "mov rsi, [rbx+16]": b"\x48\x8b\x73\x10",
        "mov rdx, [rbx+24]": b"\x48\x8b\x53\x18",
        "mov r10, [rbx+32]": b"\x4c\x8b\x53\x20",
        "mov r8, [rbx+40]": b"\x4c\x8b\x43\x28",
        "mov r9, [rbx+48]": b"\x4c\x8b\x4b\x30",
        "mov [rbx+56], rax": b"\x48\x89\x43\x38",
        "jmp r15": b"\x41\xff\xe7",
        "jmp [rip]": b"\xff\x25\x00\x00\x00\x00",
        "jmp fword ptr [rip]": b"\xff\x2d\x00\x00\x00\x00",
    },
    with_number={
        **{f"movabs {name}, #": (code, "<Q") for name, code in _MOVABS.items()},
        "movabs rax, [#]": (b"\x48\xa1", "<Q"),
        "movabs [#], rax": (b"\x48\xa3", "<Q"),
        "mov eax, #": (b"\xb8", "<I"),
        "mov edx, #": (b"\xba", "<I"),
        "mov esi, #": (b"\xbe", "<I"),
        "mov edi, #": (b"\xbf", "<I"),
        "mov r8d, #": (b"\x41\xb8", "<I"),
        "mov r10d, #": (b"\x41\xba", "<I"),
        "mov qword ptr [rbx], #": (b"\x48\xc7\x03", "<i"),
        "mov qword ptr [r14+16], #": (b"\x49\xc7\x46\x10", "<i"),
        "mov qword ptr [r14+24], #": (b"\x49\xc7\x46\x18", "<i"),
        "imul rax, rax, #": (b"\x48\x69\xc0", "<i"),
        "add rbx, #": (b"\x48\x83\xc3", "<b"),
        ".quad #": (b"", "<Q"),
        ".long #": (b"", "<I"),
        ".word #": (b"", "<H"),
    },
    short_jumps={"jmp": b"\xeb", "jz": b"\x74", "jnz": b"\x75", "js": b"\x78", "jge": b"\x7d"},
    near_jump=b"\xe9",
)

_SET_MASK = """
    movabs rax, SYS_rt_sigprocmask
    movabs rdi, 2                   # SIG_SETMASK
    movabs rsi, {mask_address}
    mov edx, 0                      # the old mask is not asked for
    mov r10d, 8                     # bytes of a mask
    syscall
"""

_ALL = "\n".join(f"    movabs {name}, {{{name}}}" for name in GENERAL_REGISTERS)
_RESTORE = (
    _ALL
    + """
    jmp [rip]                       # changes no register
    .quad {rip}
"""
)
_RESTORE_32_BITS = (
    _ALL
    + """
    jmp fword ptr [rip]             # into the code segment of 32 bits
    .long {rip}
    .word {cs}
"""
)

CALL = Program(MACHINE, "syscall")

HARBOUR_START = Program(
    MACHINE,
    """
    syscall
    movabs rax, [{data}]
    """,
)
"""By which a harbour is known: what `WAIT` begins with."""

WAIT = Program(
    MACHINE,
    """
    syscall                         # the call that is asked of a thread
wait:                               # r14: the cells of the thread, r15: its exit
    movabs rax, [{data}]            # is anything parked?
    test eax, eax
    jz leave
    movabs rax, SYS_clock_gettime
    movabs rdi, 1                   # CLOCK_MONOTONIC
    lea rsi, [r14+16]
    syscall
    test eax, eax                   # a filter forbids it: never wait without an end
    jnz leave
    mov rax, [r14+16]               # seconds
    imul rax, rax, 1000000000
    add rax, [r14+24]               # nanoseconds
    movabs rdx, {clock_offset_ns}
    sub rax, rdx                    # now it is the time of our clock
    movabs rdx, {deadline}
    cmp rax, [rdx]
    jge leave
    mov qword ptr [r14+16], 0
    mov qword ptr [r14+24], {tick_ns}
    movabs rax, SYS_ppoll           # keeps what the kernel knows of an interrupted call
    xor edi, edi
    xor esi, esi
    lea rdx, [r14+16]
    xor r10d, r10d
    mov r8d, 8
    syscall
    jmp wait
leave:
    jmp r15
    """,
)
"""The first code of a harbour: a system call, and behind it the loop in which threads wait.

ppoll(2) sleeps there because nanosleep(2) and poll(2) would spoil restart_syscall(2).
"""

_OWN_FLAGS = """
    movabs rsp, {flags_address}
    popfq
    movabs rsp, {rsp}
"""
EXIT = Program(MACHINE, _OWN_FLAGS + _SET_MASK + _RESTORE)
"""Gives one thread its own flags, signal mask and registers, and lets it go on where it was."""

_MASK = "\nmask:\n    .quad {mask}\n"
SLOT = Program(MACHINE, "syscall\n" + _SET_MASK + _RESTORE + _MASK)
"""One system call outside of a harbour, then the thread's own state again."""

EXIT_32_BITS = Program(MACHINE, _OWN_FLAGS + _SET_MASK + _RESTORE_32_BITS)
SLOT_32_BITS = Program(MACHINE, "syscall\n" + _SET_MASK + _RESTORE_32_BITS + _MASK)
"""The same for a thread that runs 32-bit code. What is in the upper halves of its registers it
cannot see."""

SLOT_START = Program(MACHINE, "syscall\n movabs rax, SYS_rt_sigprocmask")
"""By which code in a slot is known."""

BATCH = Program(
    MACHINE,
    """
    movabs rbx, {first_entry}
next:
    mov rax, [rbx]
    test rax, rax
    js end
    mov rdi, [rbx+8]
    mov rsi, [rbx+16]
    mov rdx, [rbx+24]
    mov r10, [rbx+32]
    mov r8, [rbx+40]
    mov r9, [rbx+48]
    syscall
    mov [rbx+56], rax
    add rbx, 64
    jmp next
end:
    movabs rbx, {table}
    mov qword ptr [rbx], 1          # says that all have been made
    jmp [rip]
    .quad {wait}
    """,
)
"""Makes the system calls of a table one after another (see `batch`), then waits."""

CHILD = Program(
    MACHINE,
    """
    test eax, eax                   # what clone returned: 0 in the child
    jz child
    jmp [rip]
    .quad {wait}
child:
    mov eax, SYS_prctl
    mov edi, {option}
    mov esi, {second}
    movabs rdx, {third}
    mov r10d, {fourth}
    mov r8d, {fifth}
    syscall
    movabs [{result}], rax
    xor edi, edi
    mov eax, SYS_exit
    syscall
    """,
)
"""Behind clone(2): the parent waits in the harbour, the child makes one prctl(2) and ends."""

THREAD_IN_ROOT = Program(
    MACHINE,
    """
    test eax, eax                   # what clone returned: 0 in the thread
    jz thread
    jmp [rip]
    .quad {wait}
thread:
    movabs rax, SYS_capset
    movabs rdi, {header}
    movabs rsi, {sets}
    syscall
    test eax, eax
    jnz end
    mov eax, SYS_fchdir
    mov edi, {directory}
    syscall
    test eax, eax
    jnz end
    movabs rax, SYS_chroot
    movabs rdi, {dot}
    syscall
end:
    movabs [{result}], rax
    xor edi, edi
    mov eax, SYS_exit
    syscall
    """,
)
"""Behind clone(2): the caller waits in the harbour, the new thread, which shares its directories,
makes one of them the root with a right that it takes for itself, and ends."""

PROGRAMS = (
    *(CALL, HARBOUR_START, WAIT, EXIT, SLOT, SLOT_START, BATCH, CHILD, THREAD_IN_ROOT),
    *(EXIT_32_BITS, SLOT_32_BITS),
)
