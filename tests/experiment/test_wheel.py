"""The wheel holds the package alone, and works away from the repository."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import rgrl_jax, jax
print(rgrl_jax.__file__)
config = rgrl_jax.preset("Catch-bsuite")
print(config.describe().parameters > 0, "Catch-bsuite" in rgrl_jax.envs.names())
"""


def test_the_wheel_works_elsewhere(tmp_path):
    """Built, unpacked into an empty folder and imported from there: no file of the package is missing."""
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rgrl_jax"}
    files = {
        str(path.relative_to(ROOT)) for path in (ROOT / "rgrl_jax").rglob("*") if path.suffix in (".py", ".typed")
    }
    assert files <= set(names)
    elsewhere = tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(elsewhere)
    run = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(run, cwd=elsewhere, env={"PYTHONPATH": str(elsewhere)}, capture_output=True, text=True)
    where, answers = found.stdout.splitlines()
    assert Path(where).is_relative_to(elsewhere) and answers == "True True"
