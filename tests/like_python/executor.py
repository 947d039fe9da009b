import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(2) as pool: print(list(pool.map(str, range(4))))
pool = concurrent.futures.ThreadPoolExecutor(1); future = pool.submit(pow, 2, 8)
print(future.result())
