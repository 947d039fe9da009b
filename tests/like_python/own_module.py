import pathlib, sys
pathlib.Path("mine.py").write_text("print('imported', __name__, __file__)\nx = 1\n")
import mine
print(mine.x, mine)
