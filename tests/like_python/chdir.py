import os
os.chdir('/tmp')
print(os.getcwd())
1/0
