"""From a login node to a run: a cluster in a file, a job as a script that anybody can read, and whoever starts it."""
