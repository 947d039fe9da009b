import os
out = os.fdopen(1, "w")
out.write("written and never flushed")
