class Loud:
    def __del__(self): print("del")
a = Loud()
print("end")
