"""Sets what signs in to Databricks: put_secret.py qa prod.

Asks without echo, or reads standard input (one value a line, in the order asked). The value goes
from there to Secrets Manager and nowhere else: no argument, no file, no output.
"""

import getpass
import json
import sys

import aws_stack
{% if cookiecutter.auth == "pat" %}
FIELDS = {"token": "personal access token"}
{%- else %}
FIELDS = {"client_id": "client ID (application ID)", "client_secret": "OAuth secret"}
{%- endif %}


def read(target: str, what: str) -> str:
    """One value, from the terminal without echo or from standard input. Exits where it is none."""
    if sys.stdin.isatty():
        value = getpass.getpass(f"{target}: {what} (not shown): ")
    else:
        value = sys.stdin.readline()
    value = value.strip()
    if not value or not (value.isascii() and value.isprintable()) or " " in value:
        sys.exit(f"put_secret.py: {target}: the {what} must be one word; nothing is set")
    if value == "not-set":
        sys.exit(f"put_secret.py: {target}: not-set is what stands there already; nothing is set")
    return value


def main() -> None:
    """Reads every value first, so that a slip leaves all secrets as they were."""
    outputs = aws_stack.outputs()
    secrets = {}
    for target in sys.argv[1:]:
        name = f"{target.capitalize()}SecretArn"
        if name not in outputs:
            sys.exit(f"put_secret.py: no environment {target}; there are qa and prod")
        values = {key: read(target, what) for key, what in FIELDS.items()}
        secrets[outputs[name]] = json.dumps(values)
    if not sys.stdin.isatty() and sys.stdin.read().strip():
        sys.exit("put_secret.py: more lines than were asked for; nothing is set")
    manager = aws_stack.client("secretsmanager")
    for arn, value in secrets.items():
        manager.put_secret_value(SecretId=arn, SecretString=value)
        print(f"Set {arn}")


if __name__ == "__main__":
    aws_stack.run(main)
