"""The composition root: command line, local run, gateway. Imports every other part; nothing imports it."""
