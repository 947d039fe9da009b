import sys
sys.excepthook = lambda kind, value, tb: print("hooked", kind.__name__, value, tb.tb_lineno)
raise KeyError("k")
