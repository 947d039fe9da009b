// preload.cjs imports this before go: what Node loads for a program's first import is there then.
import "node:fs";
