import threading
t = threading.Thread(target=lambda: 1 / 0, name="T"); t.start(); t.join()
