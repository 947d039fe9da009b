import inspect, sys, traceback
traceback.print_stack()
print([frame.function for frame in inspect.stack()], sys._getframe().f_back, sys._getframe().f_code.co_filename)
def g(): print(len(inspect.stack()))
g()
