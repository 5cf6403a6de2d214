"""Becomes a server that may be started as root and that ends with the tests. Run as a program.

    python launch.py plain|userns|nobody|bound PARENT_PID COMMAND ARGUMENT...

It is a program of its own, not a function run between fork and exec: there, in a process with threads, even an import
can hang. `userns` gives root a user namespace in which it is an ordinary user, which PostgreSQL insists on, while
files keep their owner. `nobody` is the way where that is forbidden, as in most containers. `bound` leaves the user as
it is and makes the permissions of files apply to root too.
"""

import ctypes
import os
import pwd
import signal
import sys

CLONE_NEWUSER, CLONE_NEWIPC = 0x10000000, 0x08000000
PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 1, 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def enter_user_namespace() -> None:
    """Become an ordinary user in a new namespace; outside of it the user stays the same."""
    user, group = os.geteuid(), os.getegid()
    # A user that the machine knows, because PostgreSQL looks its name up.
    inside = next(known.pw_uid for known in pwd.getpwall() if known.pw_uid != 0)
    libc = ctypes.CDLL(None, use_errno=True)
    # System V memory goes with the namespace, so that a killed PostgreSQL leaves none behind.
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWIPC) != 0:
        sys.exit(f"no user namespace: {os.strerror(ctypes.get_errno())}")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {user} 1"), ("gid_map", f"{inside} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def become_nobody() -> None:
    """Become the user `nobody`; there is no way back."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def respect_permissions() -> None:
    """Give up root's rights to files that their permissions deny; a program that is executed does not get them back."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if libc.prctl(PR_CAPBSET_DROP, right, 0, 0, 0) != 0:
            sys.exit(
                f"root keeps its rights to files: {os.strerror(ctypes.get_errno())}; run the tests as another user"
            )


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when the parent's thread that started it ends (Linux only)."""
    if sys.platform != "linux":
        return
    # After the change of user, which clears it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the tests ended before the server began")


def main() -> None:
    """Prepare as the arguments say, and become the command."""
    mode, parent, *command = sys.argv[1:]
    if mode == "userns":
        enter_user_namespace()
    elif mode == "nobody":
        become_nobody()
    elif mode == "bound":
        respect_permissions()
    die_with(int(parent))
    os.execv(command[0], command)  # never returns


if __name__ == "__main__":
    main()
