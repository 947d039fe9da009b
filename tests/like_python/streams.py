import sys
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream, stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.newlines,
          stream.write_through, stream.isatty(), stream.fileno(), stream.seekable(), stream.buffer, stream.buffer.raw)
print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
