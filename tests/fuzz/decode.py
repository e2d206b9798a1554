"""`python -m tests.fuzz.decode SECONDS FOLDER`: the decoder under atheris, guided by coverage of app.codec and Pillow.

Starts from tests/fuzz/corpus.py, from the findings of old and from what earlier runs left in FOLDER. Ends with a status
other than 0 at the first finding: an exception that is no ClientError, a crash, 20 seconds or 2 GB for one file. The
file then lies in FOLDER/findings; it goes to tests/fuzz/findings together with what mends it.
"""

import platform
import subprocess
import sys
import warnings
from pathlib import Path

OLD_FINDINGS = Path(__file__).resolve().parent / "findings"


def main(seconds: int, folder: Path) -> None:
    """Runs the fuzzer, which ends the process; where it cannot run, says so and returns."""
    try:
        import atheris
    except ImportError:
        print(
            "fuzz: not run: atheris is not installed. There are packages for Linux on x86-64 and Python 3.11 to 3.13; "
            f"this is Python {platform.python_version()} on {sys.platform}, {platform.machine()}."
        )
        return
    kept, seeds, findings = folder / "corpus", folder / "seeds", folder / "findings"
    for place in (kept, findings):
        place.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "tests.fuzz.corpus", str(seeds)], check=True)
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["app.codec", "PIL"]):
        from tests.fuzz import target

    def check(data: bytes) -> None:
        target.decoded(data)

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        changed = bytes(atheris.Mutate(data, max_size))
        return target.with_checksums(changed)[:max_size] if seed % 4 else changed

    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", f"-max_len={target.MAX_BYTES}"]
    folders = [str(place) for place in (kept, seeds, OLD_FINDINGS) if place.is_dir()]
    arguments = [sys.argv[0], *limits, f"-artifact_prefix={findings}/", "-print_final_stats=1", *folders]
    atheris.Setup(arguments, check, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
