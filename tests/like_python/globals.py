print(sorted(globals()), __annotations__, __builtins__)
x: int = 3
print(__annotations__)
