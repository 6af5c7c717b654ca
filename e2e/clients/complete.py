"""psql at a terminal: the tab key completes the names of tables and columns. complete.py CONNECTION."""

import os
import pty
import select
import sys
import time


def until(terminal, text, seen=""):
    deadline = time.monotonic() + 20
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            sys.exit(f"{text!r} does not come: {seen!r}")
        seen += os.read(terminal, 4096).decode()


pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", PAGER="cat", PSQL_PAGER="cat", INPUTRC="/dev/null")
    os.execvp("psql", ["psql", "--no-psqlrc", sys.argv[1]])
until(terminal, "tipstream=")
os.write(terminal, b"SELECT * FROM pipeline_s\t")
until(terminal, "pipeline_status")
os.write(terminal, b";\n")
until(terminal, "(1 row)")
os.write(terminal, b"SELECT window_start FROM tips_l\t")
until(terminal, "tips_live")
os.write(terminal, b"ORDER BY stop_n\t")
until(terminal, "stop_nbhd")
os.close(terminal)
os.waitpid(pid, 0)
print("ok")
