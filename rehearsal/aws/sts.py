"""STS's identity tokens, which moto does not issue. Nobody has signed them."""

import base64
import functools
import json
import time
import uuid
from collections.abc import Mapping

from rehearsal.aws.front import Operation
from rehearsal.aws.protocols import Request, Shape
from rehearsal.aws.rights import audience
from rehearsal.aws.stack import Stack


def get_web_identity_token(stack: Stack, request: Request) -> Shape:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html"""
    now, parameters = int(time.time()), request.parameters
    claims = {
        "iss": "https://rehearsal.tokens.sts.global.api.aws",
        "sub": stack.arn(request.role) if request.role else "operator",
        "aud": audience(parameters),
        "iat": now,
        "exp": now + int(parameters.get("DurationSeconds", 300)),
        "jti": str(uuid.uuid4()),
    }
    header = {"alg": parameters.get("SigningAlgorithm"), "typ": "JWT"}
    token = f"{encoded(header)}.{encoded(claims)}.not-signed-in-a-rehearsal"
    return {"WebIdentityToken": token}


def encoded(part: Shape) -> str:
    """A part of a JSON web token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def operations(stack: Stack) -> Mapping[str, Operation]:
    """What is answered here."""
    return {"GetWebIdentityToken": functools.partial(get_web_identity_token, stack)}
