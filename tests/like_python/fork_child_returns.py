import os
pid = os.fork()
if pid: print(os.waitpid(pid, 0)[1])
print("both", bool(pid))
