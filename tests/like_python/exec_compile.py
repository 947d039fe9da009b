exec(compile("print(__name__, __file__)", "other.py", "exec"))
eval("1/0")
