def g():
    try:
        yield 1
    finally:
        print("finally")
held = g(); next(held)
print("end")
