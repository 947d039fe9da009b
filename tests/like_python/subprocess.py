import subprocess, sys
print(subprocess.run([sys.executable, "-c", "import sys, os; print(sys.argv, sorted(os.environ)); sys.exit(4)"], capture_output=True, text=True))
print(subprocess.run(["/nonexistent"], check=False) if False else "ok")
