import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY), 1); print("x" * 10)
