import asyncio
async def tick(n):
    await asyncio.sleep(0.001 * n); return n
async def main():
    print(await asyncio.gather(*(tick(n) for n in range(5))))
    proc = await asyncio.create_subprocess_exec("/usr/bin/python3", "-c", "print('sub')", stdout=-1)
    print((await proc.communicate())[0], proc.returncode)
asyncio.run(main())
