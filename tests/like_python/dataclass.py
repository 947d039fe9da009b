from dataclasses import dataclass
@dataclass(order=True)
class A: x: int; y: str = "y"
print(sorted([A(2), A(1)]), A.__module__)
