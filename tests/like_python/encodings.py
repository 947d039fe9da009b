import locale, sys
print("é € 😀", sys.getdefaultencoding(), sys.getfilesystemencoding(), locale.getpreferredencoding(), locale.setlocale(locale.LC_CTYPE))
sys.stdout.buffer.write(bytes(range(256)))
