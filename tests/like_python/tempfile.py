import tempfile, os
with tempfile.NamedTemporaryFile() as f: print(os.path.dirname(f.name), os.path.exists(f.name))
