"""What each resource and parameter of the stack has to say, as a table."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ops.check.reading import Findings, Map, Place, Seq, check
from ops.check.stack import Stack, plain

KEY = "AWS::KMS::Key"


class Fact(NamedTuple):
    """A setting by its path, the pattern of its value ("" is: not set), and what it is for."""

    path: str
    pattern: str
    reason: str


OWN_KEY = r"\$\{(?:KEYS)(?:\.Arn)?\}"  # a key of this stack
ENCRYPTED = "its content is for this stack alone; name the stack's key"
PUBLIC = "nothing in it is public; set it to true"
ALONE = "a build takes nothing from elsewhere, and hands on nothing beside the pipeline; remove it"
# To change one of these for good, change it here. For one resource: `# accepted: SETTING (reason)`
# in the line of the finding.
FACTS = {
    "AWS::CodeBuild::Project": [
        Fact("Properties.EncryptionKey", OWN_KEY, ENCRYPTED),
        Fact("Properties.Environment.Image", r"aws/codebuild/[\w-]+:\d+\.\d+", "AWS's, by version"),
        Fact("Properties.Environment.RegistryCredential", "", "the image is AWS's; remove it"),
        Fact("Properties.Environment.PrivilegedMode", "|False", "no build needs Docker; remove it"),
        Fact("Properties.LogsConfig.CloudWatchLogs.Status", "ENABLED", "a build is on record"),
        Fact("Properties.TimeoutInMinutes", r"\d\d?|1[0-7]\d|180", "at most 180"),
        Fact("Properties.Visibility", "|PRIVATE", "nobody outside reads its log; remove it"),
        Fact("Properties.Source.Type", "CODEPIPELINE|CODECOMMIT|S3|NO_SOURCE", ALONE),
        Fact("Properties.Source.Location", r"|\$\{.*", ALONE),
        Fact("Properties.Artifacts.Type", "CODEPIPELINE|NO_ARTIFACTS", ALONE),
        *(
            Fact(f"Properties.{name}", "", ALONE)
            for name in ("SecondarySources", "SecondaryArtifacts", "Cache", "Triggers")
        ),
    ],
    "AWS::CodeBuild::ReportGroup": [
        Fact("Properties.ExportConfig.ExportConfigType", "NO_EXPORT", "reports stay in CodeBuild")
    ],
    "AWS::CodeCommit::Repository": [
        Fact("DeletionPolicy", "Retain.*", "the code outlives the stack; retain it"),
    ],
    "AWS::CodePipeline::Pipeline": [
        Fact("Properties.ExecutionMode", "SUPERSEDED", "no older commit overtakes a newer one"),
        Fact("Properties.ArtifactStore.EncryptionKey.Id", OWN_KEY, ENCRYPTED),
    ],
    "AWS::Events::Rule": [
        Fact("Properties.State", "|ENABLED", "the stack relies on it; remove it")
    ],
    KEY: [Fact("Properties.EnableKeyRotation", "True", "AWS renews the key; set it to true")],
    "AWS::Logs::LogGroup": [
        Fact("Properties.KmsKeyId", OWN_KEY, ENCRYPTED),
        Fact("Properties.RetentionInDays", r"[3-9]\d|\d{3,4}", "from 30 days, but not for ever"),
    ],
    "AWS::S3::Bucket": [
        Fact(
            "Properties.BucketEncryption.ServerSideEncryptionConfiguration.0"
            ".ServerSideEncryptionByDefault.KMSMasterKeyID",
            OWN_KEY,
            ENCRYPTED,
        ),
        Fact("Properties.VersioningConfiguration.Status", "Enabled", "nothing is overwritten"),
        Fact("Properties.LoggingConfiguration.DestinationBucketName", r"\$\{\w+\}", "log access"),
        Fact(
            "Properties.OwnershipControls.Rules.0.ObjectOwnership",
            "BucketOwnerEnforced",
            "access is by policy only",
        ),
        Fact("Properties.AccessControl", "", "access is by policy only; remove it"),
        Fact("Properties.PublicAccessBlockConfiguration.BlockPublicAcls", "True", PUBLIC),
        Fact("Properties.PublicAccessBlockConfiguration.BlockPublicPolicy", "True", PUBLIC),
        Fact("Properties.PublicAccessBlockConfiguration.IgnorePublicAcls", "True", PUBLIC),
        Fact("Properties.PublicAccessBlockConfiguration.RestrictPublicBuckets", "True", PUBLIC),
    ],
    "AWS::SNS::Subscription": [Fact("Properties.Protocol", "email", "mail goes to people only")],
    "AWS::SNS::Topic": [Fact("Properties.KmsMasterKeyId", OWN_KEY, ENCRYPTED)],
    "AWS::SecretsManager::Secret": [
        Fact("Properties.KmsKeyId", OWN_KEY, ENCRYPTED),
        Fact(
            "Properties.SecretString", "", "the value would be in this file; `make secrets` sets it"
        ),
    ],
}

# Types whose resources other checks judge, or that have nothing to weaken.
OTHERS = {
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SecretsManager::ResourcePolicy",
}


def look_up(node: Any, path: str, place: Place) -> tuple[str, Place]:
    """The value under a path, and its place: if there is none, that of what is nearest."""
    for key in path.split("."):
        if isinstance(node, Map):
            node, place = node.get(key), node.at.get(key, place)
        elif isinstance(node, Seq) and key.isdigit() and int(key) < len(node):
            node, place = node[int(key)], node.at[int(key)]
        else:
            return "", place
    return plain(node), place


@check
def resources_have_their_settings(stack: Stack) -> Findings:
    """Encryption, versions, logs, images and the like are set as FACTS has them."""
    keys = "|".join(stack.of_type(KEY)) or "-"
    for name, kind in stack.types.items():
        for path, pattern, reason in FACTS.get(kind, []):
            value, place = look_up(stack.resources[name], path, stack.resources.at[name])
            if not re.fullmatch(pattern.replace("KEYS", keys), value):
                setting = path.removeprefix("Properties.").split(".")[-1]
                state = value or "not set"
                yield place, f"{name}: {setting} is {state}: {reason}"


@check
def types_are_known(stack: Stack) -> Findings:
    """Each resource has a type whose settings are checked; a person judges any other."""
    for name, kind in stack.types.items():
        if kind and kind not in OTHERS | FACTS.keys() and not kind.startswith("AWS::IAM::"):
            message = "nothing here checks its settings; add its type to ops/check/facts.py"
            yield stack.resources.at[name], f"{name} is a {kind}: {message}"


BAD = """x y"$(z)'<"""
BAD_ADDRESSES = [
    "http://example.com",
    "https://user:word@example.com",  # accepted: password (an example of what is refused)
]
SECRET_NAME = re.compile(r"(token|password|secret|credential|apikey)$", re.IGNORECASE)


def accepted(parameter: Map, name: str) -> Iterator[str]:
    """What a parameter accepts but must not."""
    pattern = parameter.text("AllowedPattern")
    is_address = name.endswith(("Host", "Url")) or "https:" in parameter.text("Default")
    for value in [BAD, *(BAD_ADDRESSES if is_address else [])]:
        if "AllowedValues" not in parameter and re.search(pattern, value):
            yield value


@check
def parameters_are_narrow(stack: Stack) -> Findings:
    """Each parameter has a pattern that refuses what could end a quoted text; none is a secret."""
    parameters = stack.template.mapping("Parameters")
    for name, place in parameters.at.items():
        parameter = parameters.mapping(name)
        if SECRET_NAME.search(name):
            message = "everybody who sees the stack reads a parameter; make a secret of it"
            yield place, f"{name}: {message}"
        try:
            bad = next(accepted(parameter, name), "")
        except re.error as error:
            yield parameter.at["AllowedPattern"], f"{name}: not a pattern: {error}; fix it"
            continue
        if bad:
            at = parameter.at.get("AllowedPattern", place)
            yield at, f"{name} accepts {bad!r}; give it a narrow AllowedPattern, from ^ to $"
