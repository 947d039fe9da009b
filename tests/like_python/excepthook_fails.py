import sys
def hook(*_): raise ValueError("hook")
sys.excepthook = hook
raise KeyError("k")
