const kept: string[] = [];
let i = 0;
while (true) kept.push("x".repeat(10) + i++);
