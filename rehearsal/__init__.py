"""Plays the whole pipeline of a rendered repository on this machine: `python -m rehearsal PATH`."""
