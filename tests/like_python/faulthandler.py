import faulthandler, sys
faulthandler.enable(); faulthandler.dump_traceback(file=sys.stderr)
