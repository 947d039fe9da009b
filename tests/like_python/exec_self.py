import os
import sys

if len(sys.argv) == 1:
    print("before", flush=True)
    os.execv(sys.executable, [sys.executable, "main.py", "again"])
print(sys.argv, "after")
sys.exit(5)
