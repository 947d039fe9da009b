def f(n):
    return f(n - 1) if n else 1 / n
try:
    f(3)
except ZeroDivisionError as error:
    raise ValueError("outer") from error
