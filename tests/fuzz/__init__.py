"""Inputs that nobody would send, for everything that reads: `./run.sh fuzz 10m`.

A target (targets/, one module each) takes bytes and raises if a property does not hold. Tests draw its inputs with
hypothesis, and always the same; `./run.sh fuzz` looks for inputs that reach new code, with atheris.
"""
