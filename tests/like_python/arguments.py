import sys
print(sys.argv, __name__, __file__, __spec__, __package__, __doc__, type(__loader__).__name__)
print(sys.path, sys.orig_argv[1:], sys.flags, sys.executable)
