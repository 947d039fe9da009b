import atexit, sys
atexit.register(print, "first registered")
@atexit.register
def last(): print("last registered"); print("to stderr", file=sys.stderr)
print("main")
