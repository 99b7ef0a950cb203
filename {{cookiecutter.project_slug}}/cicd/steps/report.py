"""What a plan would do, in words: for its reviewer, the approval, and a mail about drift."""

import json
import re
import shlex
from collections import Counter, defaultdict
from textwrap import indent

import names
from fields import PART
from hiding import redacted
from model import ACTIONS, DESTRUCTIVE, RIGHTS, Plan
from texts import cut, printable
from values import Line, lines

# How an action that a plan of the deployed release holds describes prod.
DIFFERENCES = {"create": "missing", "update": "changed", "recreate": "changed", "delete": "stays"}
# Fields of a resource's section, resources with their fields, losses in the approval, and how long.
MOST_FIELDS, MOST_RESOURCES, MOST_LOSSES, LONGEST_LOSS = 40, 100, 3, 80
LONGEST_LINE = 80
# The sections of a resource that come first: its name, its rights, when and where it runs.
FIRST = (
    *("name", "run_as", "owner", "schedule", "trigger", "continuous", "edit_mode", "git_source"),
    *("parameters", "job_clusters", "clusters", "environments", "libraries"),
)
CLIENTS_OWN = "deployment"  # a section that the client writes, whatever the bundle says
IDENTITY = ("run_as", "owner")
# The wheel's version ends in the build's number: every job names another file each time.
# Only in the deployment's own folder is it the release's wheel.
WHEEL = re.compile(r'"(\.\.\./(?:[^"]*/)?)([\w.]+)-[\w.+!]+((?:-[\w.]+){3,4}\.whl)"', re.ASCII)


def summary(plan: Plan) -> str:
    """Returns how many resources change, as one line."""
    return ", ".join(f"{plan.count(action)} to {action}" for action in ACTIONS)


# ---- Fields --------------------------------------------------------------------------------------


def section(line: Line) -> str:
    """Returns the part of a resource that a field belongs to; each task is a part of its own."""
    match = re.match(r"tasks\[[^]]*\]|\w*", line.path)
    return match[0] if match else ""


def by_section(every: list[Line]) -> dict[str, list[Line]]:
    """Returns the fields of a resource by section, what decides about the resource first."""
    sections = defaultdict(list)
    for line in every:
        sections[section(line)].append(line)
    place = {name: number for number, name in enumerate(FIRST)}
    return dict(sorted(sections.items(), key=lambda item: place.get(item[0], len(FIRST))))


def by_parent(every: list[Line]) -> dict[str, list[Line]]:
    """Returns the fields of a section by what they are a part of.

    Each is cut by itself: many parameters of a task do not push off its notebook.
    """
    parents = defaultdict(list)
    for line in every:
        starts = [part.start() for part in PART.finditer(line.path)]
        parents[line.path[: starts[-1]] if starts else ""].append(line)
    return parents


def field_lines(plan: Plan, key: str) -> list[Line]:
    """Returns the fields of a resource as a reader sees them, without secrets."""
    settings, folder = plan.settings(key), plan.folder
    every = [line for field in plan.fields(key) for line in lines(field, settings, folder)]
    if plan.actions[key] == "create":
        return [line for line in every if section(line) != CLIENTS_OWN]
    return every


def field_text(line: Line, action: str) -> str:
    """Returns a field as an item of a list; values that need more than a line, below its path."""
    values = [line.after] if action == "create" else [line.before, f"-> {line.after}"]
    text = " ".join([f"- {line.path}:", *values])
    return text if len(text) + 2 <= LONGEST_LINE else "\n    ".join([f"- {line.path}:", *values])


def new_wheel(line: Line) -> str:
    """Returns which wheel takes the place of which, if a field says only that; else ""."""
    before, after = WHEEL.fullmatch(line.before), WHEEL.fullmatch(line.after)
    if not before or not after or before.groups() != after.groups():
        return ""
    files = [text.strip('"').rpartition("/")[2] for text in (line.before, line.after)]
    return " -> ".join(files)


# ---- Resources -----------------------------------------------------------------------------------


def in_order(plan: Plan) -> list[str]:
    """Returns the resources that change: what is lost, who may do what, the rest, what is new."""

    def place(key: str) -> int:
        action = plan.actions[key]
        if action in DESTRUCTIVE or action == "create":
            return 3 * (action == "create")
        return 1 if key.endswith(RIGHTS) else 2

    return sorted(plan.actions, key=place)


def resource(plan: Plan, key: str, wheels: Counter[str]) -> str:
    """Returns a resource with its fields as a list; counts those that only name a new wheel."""
    action = plan.actions[key]
    every = field_lines(plan, key)
    others = [line for line in every if not new_wheel(line)]
    wheels.update(new_wheel(line) for line in every if new_wheel(line))
    title = f"- {action} {key}{' (new wheel)' if len(others) < len(every) else ''}"
    below = [
        text
        for section_lines in by_section(others).values()
        for name, part in by_parent(section_lines).items()
        for text in cut(
            [field_text(line, action) for line in part], MOST_FIELDS, f"fields of {name}"
        )
    ]
    return "\n".join([title, *(indent(text, "  ") for text in below)])


def resources(plan: Plan) -> list[str]:
    """Returns the resources that change with their old and new values; of many, only the first."""
    wheels: Counter[str] = Counter()
    keys = in_order(plan)
    parts = [resource(plan, key, wheels) for key in keys[:MOST_RESOURCES]]
    titles = [f"- {plan.actions[key]} {key}" for key in keys[MOST_RESOURCES:]]
    if titles:
        titles.append(f"- (the fields of the last {len(titles)} resources are in plan.json)")
    versions = [f"- the wheel ({count} times): {files}" for files, count in wheels.items()]
    return [*versions, *parts, *titles]


def changes_rights(plan: Plan, key: str) -> bool:
    """Whether what is there already gets other rights, another owner or another identity."""
    action = plan.actions[key]
    if key.endswith(RIGHTS):
        is_new = action == "create" and plan.actions.get(key.rpartition(".")[0]) == "create"
        return action not in DESTRUCTIVE and not is_new
    return action == "update" and any(field.path.startswith(IDENTITY) for field in plan.fields(key))


def warnings(plan: Plan) -> list[str]:
    """Returns what a reviewer must not miss."""
    keys, losses = in_order(plan), plan.losses
    lost = [f"**WARNING: {loss}: data or permanent addresses would be lost.**" for loss in losses]
    texts = {key: f"{plan.actions[key]} {key}" for key in keys}
    deleted = [
        f"WARNING: {texts[key]}"
        for key in keys
        if plan.actions[key] in DESTRUCTIVE and texts[key] not in losses
    ]
    rights = [f"Rights change: {texts[key]}" for key in keys if changes_rights(plan, key)]
    return [f"> {text}" for text in lost + deleted + rights]


# ---- Texts ---------------------------------------------------------------------------------------


def own_folder(plan: Plan, every: list[str]) -> list[str]:
    """Returns which folder `...` is, if resources name it: the plan itself says so."""
    if not plan.folder or not any('".../' in part for part in every):
        return []
    folder = json.dumps(plan.folder.removesuffix("/"), ensure_ascii=False)
    return [f"`...` is {printable(folder)}"]


def show(plan: Plan) -> str:
    """Returns the plan for its reviewer, dangers first. Raises Damaged if it holds a secret."""
    plan.check_secrets()
    every = resources(plan)
    parts = [
        ["# What would change in prod"],
        warnings(plan),
        [f"**{summary(plan)}**, {plan.unchanged} unchanged"],
        own_folder(plan, every),
        every or ["The resources stay as they are."],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def data_loss(plan: Plan) -> str:
    """Returns the sentence of the approval about data that would be lost."""
    losses = [loss[:LONGEST_LOSS] for loss in plan.losses]
    if losses:
        rest = f" and {len(losses) - MOST_LOSSES} more" if len(losses) > MOST_LOSSES else ""
        return f"DATA WOULD BE LOST: {', '.join(losses[:MOST_LOSSES])}{rest}."
    if plan.actions:
        return "It deletes no data."
    return "It changes no resource: files and wheel only."


def variables(plan: Plan) -> str:
    """Returns what the build exports for the approval, as commands for a shell."""
    values = {f"{action.upper()}S": str(plan.count(action)) for action in ACTIONS}
    values[names.LOSES_DATA] = str(bool(plan.losses)).lower()
    values[names.DATA_LOSS] = data_loss(plan)
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def drifted(plan: Plan, key: str) -> str:
    """Returns a resource of prod that is not as deployed, with the names of its fields."""
    action = plan.actions[key]
    fields = [] if action == "create" else plan.fields(key)
    paths = [f"- {printable(redacted(field.path))}" for field in fields]
    below = [indent(path, "  ") for path in cut(paths, MOST_FIELDS, "fields")]
    return "\n".join([f"- {DIFFERENCES[action]} {key}", *below])


def drift(plan: Plan) -> str:
    """Returns how prod differs from what was deployed: `none`, or a list without values."""
    if not plan.actions:
        return "none"
    every = [drifted(plan, key) for key in in_order(plan)]
    return "\n".join(
        [
            f"{len(plan.actions)} of {len(plan.entries)} resources in prod are not as deployed",
            "",
            *cut(every, MOST_RESOURCES, "resources"),
            "",
            "Deploying again undoes this. Copy what should stay into the repository and push;",
            "otherwise: make start. To look again: make drift.",
        ]
    )
