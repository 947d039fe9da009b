class Loud:
    def __init__(self, name): self.name = name
    def __del__(self): print("del", self.name)
a = Loud("a"); _b = Loud("_b"); c = [Loud("in a list")]
cycle = Loud("cycle"); cycle.self = cycle
def keeps(loud=Loud("default")): return a
print("end of main")
