"""The only room that touches files, the clock and the terminal."""
