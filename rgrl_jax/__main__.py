"""``python -m rgrl_jax`` is the command line ``rgrl``."""

from rgrl_jax.experiment.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
