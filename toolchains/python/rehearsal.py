"""Run by every parked interpreter before go: what most programs begin with."""


class Pair:
    def __init__(self, left, right):
        self.left, self.right = left, right


def total(numbers):
    return sum(number * number for number in numbers if number % 2)


words = {str(number): [number] for number in range(20)}
for word, numbers in sorted(words.items()):
    print(f"{word} {total(numbers):>3}", Pair(word, numbers).left, end=" ")
try:
    [].pop()
except IndexError as error:
    print(error)
