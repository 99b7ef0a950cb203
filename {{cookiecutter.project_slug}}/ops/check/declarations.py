"""What the bundle declares: each key once, each variable with a value, identities and schedules."""

import re
import zoneinfo
from collections.abc import Iterator

from ops.check.bundle import Bundle
from ops.check.files import Files
from ops.check.reading import Findings, Map, Place, check, leaves, maps, suggest
from ops.check.stack import Stack

Definition = tuple[str, str, str, Place]  # the target, or "" for all; the kind, the key, the place


def definitions(bundle: Bundle) -> Iterator[Definition]:
    """Every resource of every file."""
    for file in bundle.names:
        root = bundle.files.yaml.mapping(file)
        targets = root.mapping("targets")
        scopes = [("", root), *((name, targets.mapping(name)) for name in targets)]
        for target, scope in scopes:
            kinds = scope.mapping("resources")
            for kind in kinds:
                for key, place in kinds.mapping(kind).at.items():
                    yield target, kind, key, place


@check
def keys_are_defined_once(bundle: Bundle) -> Findings:
    """No two resources of a target have one key: the client refuses that, whatever their kinds."""
    known: dict[tuple[str, str], tuple[str, Place]] = {}
    for target, kind, key, place in definitions(bundle):
        for scope in {"", target}:  # a target may change what all have, but not its kind
            other, at = known.get((scope, key), (kind, place))
            if other != kind or (scope == target and at != place):
                message = f"{at.file}:{at.line} defines {other}.{key} too; rename one of them"
                yield place, f"the key {key} is taken: {message}"
                break
        known.setdefault((target, key), (kind, place))


@check
def variables_have_values(files: Files, bundle: Bundle) -> Findings:
    """Each variable has a value in each target, and each target sets only variables that exist."""
    declared = bundle.all.mapping("variables")
    for name, target in bundle.targets.items():
        for variable, place in target.mapping("variables").at.items():
            if variable not in declared:
                yield place, f"the bundle has no variable {variable}; {suggest(variable, declared)}"
        for variable in declared:
            definition = declared.get(variable)
            has_value = not isinstance(definition, Map) or {"default", "lookup"} & definition.keys()
            given = variable in target.mapping("variables")
            passed = any(f"BUNDLE_VAR_{variable}" in text for text in files.text.values())
            if not (has_value or given or passed):
                at = bundle.all.mapping("targets").at[name]
                yield at, f"{name} has no value for {variable}; set it here, or give it a default"


IDENTITIES = {"user_name", "service_principal_name", "group_name"}


@check
def identities_are_one(bundle: Bundle) -> Findings:
    """Whoever a job runs as, or who has a permission, is one identity."""
    for part in maps(bundle.all):
        named = [key for key in part if key in IDENTITIES]
        if len(named) > 1:
            yield (
                part.at[named[1]],
                f"{' and '.join(named)}: only one can be meant; remove the other",
            )


RANGES = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2099)]
NAMES = {4: "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", 5: "SUN MON TUE WED THU FRI SAT"}
FIELDS = ["seconds", "minutes", "hours", "day-of-month", "month", "day-of-week", "year"]


def is_field(number: int, text: str) -> bool:
    """Whether a text can be a field of a Quartz expression."""
    low, high = RANGES[number]
    for position, name in enumerate(NAMES.get(number, "").split(), 1):
        text = re.sub(rf"\b{name}\b", str(position), text.upper())
    special = {3: r"\?|L(-\d+)?W?|\d+W", 5: r"\?|L|\d+L|\d#[1-5]"}.get(number, r"(?!)")
    for part in text.split(","):
        if not re.fullmatch(rf"{special}|(\*|\d+|\d+-\d+)(/\d+)?", part):
            return False
        values = [int(value) for value in re.findall(r"\d+", re.sub(r"[/#-]\d+$|W$", "", part))]
        values += [int(value) for value in re.findall(r"\d-(\d+)", part)]
        if not all(low <= value <= high for value in values):
            return False
    return True


def cron_problem(expression: str) -> str:
    """What is wrong with a Quartz expression, or "" if nothing is."""
    fields = expression.split()
    if len(fields) not in (6, 7):
        return f"it has {len(fields)} fields, but Quartz has 6 or 7: {' '.join(FIELDS)}"
    for number, field in enumerate(fields):
        if not is_field(number, field):
            return f"{field!r} cannot be its {FIELDS[number]}"
    if (fields[3] == "?") == (fields[5] == "?"):
        return "one of day-of-month and day-of-week has to be ?, and only one"
    return ""


@check
def schedules_exist(bundle: Bundle) -> Findings:
    """Schedules name a time zone and a Quartz expression that exist."""
    zones = zoneinfo.available_timezones()
    for key, value, place in {leaf.place: leaf for leaf in leaves(bundle.all)}.values():
        text = str(value)
        if "$" in text:
            continue
        if key == "timezone_id" and zones and text not in zones:
            yield place, f"there is no time zone {text}; {suggest(text, zones)[:60]}"
        if key == "quartz_cron_expression" and (problem := cron_problem(text)):
            yield place, f"{text!r} is no Quartz expression: {problem}"


SIGN_IN = {
    "pat": {"TOKEN"},
    "oauth-m2m": {"CLIENT_ID", "CLIENT_SECRET"},
    "file-oidc": {"CLIENT_ID", "OIDC_TOKEN_FILEPATH"},
}


@check
def builds_sign_in_one_way(stack: Stack) -> Findings:
    """A build has the variables of one way to sign in, all of them and no other's."""
    for build in stack.builds:
        names = {
            v.name.removeprefix("DATABRICKS_"): v
            for v in build.variables
            if "DATABRICKS_" in v.name
        }
        if "HOST" not in names:
            continue
        host = names["HOST"]
        if not isinstance(host.value, Map):
            message = "its host is written out; take the parameter, which is checked"
            yield host.place, f"{build.name}: {message}"
        way = str(names["AUTH_TYPE"].value) if "AUTH_TYPE" in names else ""
        held = names.keys() & set().union(*SIGN_IN.values())
        fitting = [way] if way else [name for name, needed in SIGN_IN.items() if needed == held]
        needed = SIGN_IN.get(fitting[0], set()) if fitting else set()
        if held != needed or not needed:
            place = names.get("AUTH_TYPE", names["HOST"]).place
            expected = " and ".join(f"DATABRICKS_{name}" for name in sorted(needed)) or "one way"
            found = " and ".join(sorted(held)) or "nothing"
            message = f"{way or 'a sign-in'} needs {expected}, but there is {found}; make them fit"
            yield place, f"{build.name}: {message}"
