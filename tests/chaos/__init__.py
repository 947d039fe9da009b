"""Chaos: parts of a server of our own are killed, stopped and starved by a plan with a seed, under honest load.

plan.py says what is done when, victims.py finds whom, blows.py does it, requests.py is what clients ask for and which
answers are right, clients.py asks, and __main__.py is the command.
"""
