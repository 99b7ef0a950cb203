"""That environments are kept apart: a build's credentials are its target's, and nobody else's."""

import itertools
import re

from ops.check.reading import Findings, check, check_after, maps
from ops.check.stack import POLICY, RIGHTS, SECRET, Build, Stack, Variable, plain, references


@check
def builds_work_on_one_target(stack: Stack) -> Findings:
    """A build works on one target, and on the one that its name and its credentials are for."""
    for build in stack.builds:
        for (first, (_, line)), (target, place) in itertools.pairwise(build.targets.items()):
            yield place, f"this build works on {first} (line {line}) and {target}; name one"
        values = [v.value for v in build.variables if "DATABRICKS_" in v.name]
        owners = {stack.environment(name) for name in [build.name, *references(values)]}
        if len(build.targets) == len(owners) == 1 and not owners & {"", *build.targets}:
            target, owner = *build.targets, *owners
            works = f"{build.buildspec} works on {target} (line {build.targets[target].line})"
            yield build.place, f"{build.name} is {owner}'s, but {works}; name another buildspec"


@check_after(builds_work_on_one_target)
def secrets_are_not_shared(stack: Stack) -> Findings:
    """A secret that is not named after an environment is used by the builds of one only."""
    for name in stack.of_type(SECRET):
        targets = stack.users.get(name, {})
        if len(targets) > 1 and not stack.environment(name):
            shared = " and ".join(target or "no target" for target in targets)
            yield max(targets.values()), f"{name} is shared by {shared}; give each its own"


@check_after(builds_work_on_one_target)
def secrets_are_hidden(stack: Stack) -> Findings:
    """Variables with a secret's name take it from a secret of this stack that has the key."""
    secrets = stack.of_type(SECRET)
    for variable in (variable for build in stack.builds for variable in build.variables):
        if not variable.is_secret and re.search("(TOKEN|SECRET|PASSWORD)$", variable.name):
            yield (
                variable.place,
                f"{variable.name} holds a secret as plain text; set Type: SECRETS_MANAGER",
            )
        if variable.is_secret and not secrets.keys() & set(references(variable.value)):
            secret = plain(variable.value)
            message = f"{secret} is not a secret of this stack; name one of its secrets with !Sub"
            yield variable.place, message
        for name, key in re.findall(r"\$\{(\w+)\}:([\w-]+)", plain(variable.value)):
            generated = stack.properties(name).mapping("GenerateSecretString")
            if generated and f'"{key}"' not in plain(generated.get("SecretStringTemplate")):
                yield variable.place, f"{name} has no key {key}; add it to its SecretStringTemplate"


def foreign_owner(stack: Stack, build: Build, variable: Variable, name: str) -> str:
    """The environment that a credential or host of a build belongs to, if it is another's."""
    owner = stack.owners.get(name) or stack.environment(name)
    own = owner in build.targets or not variable.name.startswith("DATABRICKS_")
    return "" if own else owner


@check_after(builds_work_on_one_target)
def credentials_are_the_builds_own(stack: Stack) -> Findings:
    """No build gets the credential or the host of another environment."""
    for build, variable, name in stack.uses:
        if owner := foreign_owner(stack, build, variable, name):
            yield variable.place, f"{build.name} gets {name}, which is {owner}'s; give it its own"


@check_after(builds_work_on_one_target)
def builds_may_use_what_they_get(stack: Stack) -> Findings:
    """The role of a build may read its secrets, and decrypt with their keys."""
    for build, variable, name in stack.uses:
        if foreign_owner(stack, build, variable, name) or not build.role:
            continue  # another's secret it must not get at all
        key = references(stack.properties(name).get("KmsKeyId")) if name in stack.types else []
        for used in [name, *key]:
            right = RIGHTS.get(stack.types.get(used, ""))
            if right and (build.role, used) not in stack.rights:
                message = f"{build.role} may not {right.verb} {used}; allow it {right.action}"
                yield variable.place, message


@check_after(builds_work_on_one_target)
def rights_end_at_the_environment(stack: Stack) -> Findings:
    """No other role may read an environment's secret, assume its role or start its builds."""
    for (role, name), place in stack.rights.items():
        owner, targets = stack.owners.get(name), stack.users.get(role, {})
        # A role of no build may start builds, as the pipeline does, but reads no secret.
        concerned = targets or stack.types[name] == SECRET
        if owner and concerned and targets.keys() != {owner}:
            may = f"{role} may {RIGHTS[stack.types[name]].verb} {name}"
            yield place, f"{may}; allow that only to a role of {owner}'s builds"


@check_after(builds_work_on_one_target)
def policies_are_the_stacks_own(stack: Stack) -> Findings:
    """The roles of builds have only policies that are in this file, so that they can be checked."""
    own = {*stack.of_type(POLICY), "AWS"}  # AWS::NoValue
    for build in stack.builds:
        role = stack.properties(build.role)
        policies = role.get("ManagedPolicyArns")
        if "arn:" in plain(policies) or {*references(policies)} - own:
            yield (
                role.at["ManagedPolicyArns"],
                "a policy from outside this file cannot be checked; use Policies",
            )


@check_after(builds_work_on_one_target)
def no_resource_policy_opens_a_secret(stack: Stack) -> Findings:
    """No resource policy gives access to a secret beside the policies of the roles."""
    policies = stack.of_type("AWS::SecretsManager::ResourcePolicy")
    for statement in maps([*policies.values()]):
        if statement.get("Effect", "Deny") != "Deny":
            message = "gives access to a secret outside the roles' own policies; allow it there"
            yield statement.at["Effect"], message
