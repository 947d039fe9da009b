import json, random, re, sys
print(json.dumps({"a": 1}), re.sub("a", "b", "banana"), sys.modules["__main__"].__file__, "daemon" in sys.modules, "usercustomize" in sys.modules)
random.seed(5); print(random.random())
try:
    import daemon
except ImportError as error: print(error)
try:
    import usercustomize
except ImportError as error: print(error)
