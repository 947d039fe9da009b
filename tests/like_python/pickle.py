import copy, pickle
class Point:
    def __init__(self, x): self.x = x
print(pickle.loads(pickle.dumps(Point(3))).x, copy.deepcopy(Point(4)).x, Point)
