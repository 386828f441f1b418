"""What generate.py does, and Python with `Predictor`: lines in, answers out, and nothing else on stderr."""

from dlib.process.messages import quiet_libraries

quiet_libraries()  # before a module of this room imports them
