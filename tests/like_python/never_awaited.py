async def f(): pass
x = f()
print("end")
