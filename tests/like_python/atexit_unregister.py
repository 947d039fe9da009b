import atexit
def no(): print("no")
atexit.register(no); atexit.unregister(no)
atexit._clear()
print(atexit._ncallbacks())
