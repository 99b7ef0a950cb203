"""Hides what looks secret, by its key or by its form; a plan is read, mailed and logged.

The patterns are our own: scanners such as detect-secrets search files for findings, need packages
that a build with production's credential does not install, and blank no part of a value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

HIDDEN = "(hidden)"

# ---- By key --------------------------------------------------------------------------------------

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
SECRET_WORDS = {
    *("authorization", "bearer", "cookie", "credential", "credentials", "jwt", "pass", "passcode"),
    *("passphrase", "passwd", "password", "passwords", "passwort", "pat", "psk", "pw", "pwd"),
    *("sas", "secret", "secrets", "sig", "signature", "token"),
}
# Words that are secret in any company, with no break between: DBPASSWORD, clientsecret.
SECRET_PARTS = re.compile(
    r"passw(or)?d|passphrase|secret|credential|(access|account|api|private|shared)key"
    r"|(access|api|auth|bearer|refresh|sas)token"
)
# A key of these kinds is a secret; a primary, partition or task key is not.
SECRET_KEYS = {
    *(
        "access",
        "account",
        "api",
        "app",
        "client",
        "consumer",
        "decryption",
        "deploy",
        "encryption",
    ),
    *("function", "hmac", "host", "license", "master", "private", "rsa", "secret", "service"),
    *("shared", "signing", "ssh", "storage", "subscription", "webhook"),
}
# A key that ends in one of these says something about a secret, and holds none: token_budget.
ABOUT = {
    *("budget", "count", "days", "enabled", "endpoint", "expiry", "file", "hours", "length"),
    *("lifetime", "limit", "minutes", "name", "path", "policy", "rate", "ratio", "required"),
    *("scope", "seconds", "size", "threshold", "ttl", "type", "uri", "url", "version"),
}


def is_secret_key(key: str) -> bool:
    """Whether a key names a secret: db_password, fs.s3a.access.key, sasToken; not task_key."""
    words = [word.lower() for word in WORD.findall(key)]
    if not words or words[-1] in ABOUT:
        return False
    return (
        bool(SECRET_WORDS.intersection(words))
        or any(
            first in SECRET_KEYS and second in ("key", "keys") for first, second in pairwise(words)
        )
        or any(SECRET_PARTS.search(word) for word in words)
    )


# ---- By form -------------------------------------------------------------------------------------

FORMS = re.compile(
    "|".join(
        [
            # Databricks
            r"\b(?:dapi|dose|dkea|dptk|dsapi)[0-9a-f]{16,}(?:-\d+)?",
            # AWS: IDs of access keys, session tokens, secret access keys
            r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}\b",
            r"\b(?:FwoG|FQoG|IQoJ)[A-Za-z0-9/+=]{20,}",
            r"(?<![\w/+=.-])(?=(?:[a-z\d/+]{0,39}[A-Z]){8})(?=[A-Za-z/+]{0,39}\d)"
            r"[A-Za-z0-9+][A-Za-z0-9/+]{39}(?![\w/+=.-])",
            # Azure: keys of accounts (64 bytes), secrets of applications
            r"(?<![\w/+=])[A-Za-z0-9/+]{86}==",
            r"\b\w{3}\dQ~[\w.~-]{31,}",
            # GitHub, GitLab, Bitbucket
            r"\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}|\bATBB\w{20,}",
            r"\bgl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|rtr|soat)-[\w-]{16,}",
            # Slack, Teams, Discord
            r"\bxox[a-z]-[\w-]{8,}|\bxapp-[\w-]{8,}|\bhooks\.slack\.com/\S+",
            r"(?<![\w.-])[\w.-]*?webhook\.office\.com/\S+|\bdiscord(?:app)?\.com/api/webhooks/\S+",
            # Google
            r"\bAIza[\w-]{20,}|\bya29\.[\w.-]+|\bGOCSPX-[\w-]{10,}",
            # Hugging Face, OpenAI, Anthropic, SendGrid, Stripe, Twilio
            r"\bhf_[A-Za-z0-9]{16,}|\bsk-(?:ant|proj|svcacct|admin)-[\w-]{8,}|\bsk-[A-Za-z0-9]{20,}",
            r"\bSG\.[\w-]{8,}\.[\w-]{8,}|\b[rs]k_(?:live|test)_\w{8,}|\b(?:SK|AC)[0-9a-f]{32}\b",
            # npm, PyPI, Docker, Vault, Terraform, DigitalOcean, Grafana, Atlassian
            r"\bnpm_\w{20,}|\bpypi-[\w-]{16,}|\bdckr_pat_[\w-]{8,}|\bhv[bsr]\.[\w-]{16,}",
            r"\b\w{8,}+\.atlasv1\.\S+|\bdo[opr]_v1_\w{16,}|\bgl(?:c|sa)_\w{16,}|\bATATT\w[\w=-]{16,}",
            # JSON in base64, as in web tokens; private keys, in base64 too
            r"\beyJ[\w-]{5,}(?:\.[\w-]*)*",
            r"-{5}BEGIN[\s\S]*|\bLS0tLS1CRUdJTi[\s\S]*",
            # A user's password in an address: https://ada:x@host, jdbc:oracle:thin:ada/x@host
            r"(?<=://)[^\s/:@]{0,99}:(?:[^\s/@]{1,999}|(?!\d+/)[^\s@]{1,999})(?=@)",
            r"(?<=://)[^\s/:@?]{16,999}(?=@)",
            r"(?<=:thin:)[^\s/@]{1,99}/[^\s@]{1,999}(?=@)",
            r"(?<![\w.-])[\w.-]++:[^\s@:/]+(?=@(?:tcp|unix)\()",
            r"(?i:\bbearer|\bbasic)\s+(?=\S{0,99}[\d=])[\w.~+/=-]{6,}",
        ]
    )
)
# What is assigned to a word, as in password=x, "token": "x", AccountKey={x}; or to an option, as
# in --password x.
ASSIGNED = re.compile(
    r"(?<![\w.-])(?:(?P<key>[\w.-]++)(?:\\?[\"'])?\s*[=:]\s*|(?P<option>--?\w[\w-]*+)\s+(?!--))"
)
VALUE = re.compile(r"\\?\"[^\"]*\"|'[^']*'|\{\{[^{}]*\}\}|\{[^{}]*\}|[^\s\"',;&]+")
# The name of a secret in the workspace, or of a variable of the bundle.
REFERENCE = re.compile(r"\{\{\s*secrets/[\w.-]+/[\w.-]+\s*\}\}|\$\{[\w.\[\]-]+\}")


def assigned(text: str) -> Iterator[tuple[int, int]]:
    """Yields where in a text something is assigned to a word that names a secret."""
    place = 0
    while match := ASSIGNED.search(text, place):
        place = match.end()
        is_secret = is_secret_key(match["key"] or match["option"])
        value = VALUE.match(text, place) if is_secret else None
        if value:
            place = value.end()
            if not REFERENCE.fullmatch(value[0]):
                yield value.span()


def redacted(text: str) -> str:
    """Returns a text with `(hidden)` in place of every part that looks secret."""
    text = FORMS.sub(HIDDEN, text)
    for start, end in reversed(list(assigned(text))):
        text = f"{text[:start]}{HIDDEN}{text[end:]}"
    return text


# ---- Values --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Secret:
    """A value of which at least a part is hidden; equal to another one only if both are."""

    value: Any
    text: str = HIDDEN


def hide(key: str, value: Any) -> Any:
    """Returns a value with Secret in place of every part that looks secret."""
    if isinstance(value, bool) or value in (None, ""):
        return value
    if key and is_secret_key(key):
        return value if REFERENCE.fullmatch(str(value)) else Secret(str(value))
    if isinstance(value, dict):
        return hide_in_mapping(value)
    if isinstance(value, list):
        return [
            Secret(str(item)) if is_option(before) and is_argument(item) else hide("", item)
            for before, item in zip([None, *value], value, strict=False)
        ]
    return hide_in_text(value)


def hide_in_text(value: Any) -> Any:
    """Returns a plain value, or Secret if its text has a part that looks secret."""
    text = redacted(str(value))
    return value if text == str(value) else Secret(str(value), text)


def hide_in_mapping(mapping: dict[str, Any]) -> dict[str, Any]:
    """Returns a mapping without secrets; {"name": "token", "value": ...} holds one as well."""
    label = mapping.get("name", mapping.get("key"))
    named = isinstance(label, str) and is_secret_key(label)
    return {
        key: hide(str(label) if named and key in ("default", "value") else key, item)
        for key, item in mapping.items()
    }


def is_option(item: Any) -> bool:
    """Whether an item of a list is an option such as --password, whose value comes next."""
    return isinstance(item, str) and item.startswith("-") and is_secret_key(item)


def is_argument(item: Any) -> bool:
    """Whether an item of a list is the value of the option before it."""
    return not (isinstance(item, str) and item.startswith("--"))
