import __main__, sys
x = 5
print(__main__.x, __main__ is sys.modules["__main__"])
