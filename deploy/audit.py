"""`python -m deploy.audit`: asks for known vulnerabilities of everything that constraints.txt pins, by pip-audit.

Fails on every vulnerability. Where no advisory service answers, it says so and does not fail, so that a machine without
network can run what CI runs. Options are passed on to pip-audit, for example `--vulnerability-service osv`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PINS = Path(__file__).resolve().parent.parent / "constraints.txt"
CONNECT_SECONDS = 10
TOTAL_SECONDS = 120  # one question a package, one after another
_NO_ANSWER = (
    "requests.exceptions.",
    "urllib3.exceptions.",
    "ConnectionError",
    "ServiceError",
    "network may be blocking",
)


def audit(pins: Path, options: Sequence[str] = ()) -> tuple[int, str]:
    """(exit status, what to print): 1 for vulnerabilities, and for anything else that is not the network's fault."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", str(CONNECT_SECONDS), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOTAL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 0, f"audit: skipped: the advisory service did not answer for every package in {TOTAL_SECONDS} s."
    if done.stdout.strip():
        return verdict(done.stdout)
    words = done.stderr.strip() or f"pip-audit ended with status {done.returncode} and said nothing"
    if any(sign in words for sign in _NO_ANSWER):
        return 0, f"audit: skipped: the advisory service cannot be reached. {words.splitlines()[-1][:300]}"
    return 1, f"audit: pip-audit failed:\n{words}"


def verdict(report: str) -> tuple[int, str]:
    """What a report (pip-audit's JSON) means; a package that the service does not know counts as not audited."""
    packages = json.loads(report)["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    known = len(packages) - len(unknown)
    found = [
        f"  {package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'none'}"
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    rest = f" It does not know {', '.join(unknown)}." if unknown else ""
    if found:
        return 1, "\n".join([f"audit: {len(found)} known vulnerabilities; raise the pins in constraints.txt:", *found])
    if not known:
        return 0, f"audit: skipped: the advisory service here knows none of the {len(packages)} packages."
    return 0, f"audit: no known vulnerability in {known} of {len(packages)} packages.{rest}"


if __name__ == "__main__":
    status, text = audit(PINS, sys.argv[1:])
    print(text)
    sys.exit(status)
