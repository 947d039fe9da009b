"""`cellblock bench`: what a run costs, against the bare command in the same run, on this server or any other."""
