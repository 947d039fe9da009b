import multiprocessing
def hello(n): print("child", n, __name__, flush=True)
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    p = context.Process(target=hello, args=(1,)); p.start(); p.join(); print(p.exitcode)
