import sys
print(input(), [line for line in sys.stdin], sys.stdin.read() == "")
try:
    input()
except EOFError as error:
    print("EOF", error)
