import sys
e = sys.exit
globals().clear()
raise SystemExit(6)
