import atexit, os
atexit.register(os._exit, 9)
print("main", flush=True)
