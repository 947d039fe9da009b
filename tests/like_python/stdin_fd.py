import os
print(os.read(0, 5), open(0).read(3), open("/dev/stdin").read(2))
