import warnings
warnings.warn("look"); warnings.warn("old", DeprecationWarning, stacklevel=2)
open("/dev/null")
print(warnings.filters)
