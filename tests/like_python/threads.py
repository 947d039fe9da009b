import threading
def work(n): print("thread", n, threading.current_thread().name)
for n in range(3):
    t = threading.Thread(target=work, args=(n,)); t.start(); t.join()
print(threading.main_thread(), threading.active_count(), threading.current_thread() is threading.main_thread())
