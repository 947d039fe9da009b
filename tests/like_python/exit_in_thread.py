import sys, threading
threading.Thread(target=sys.exit, args=(3,)).start()
print("main goes on")
