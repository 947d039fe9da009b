import os, signal
signal.signal(signal.SIGUSR1, lambda n, frame: print("caught", n, frame.f_lineno))
os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
