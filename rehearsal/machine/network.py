"""The builds' way to the outside: a proxy on loopback that answers for some hosts itself.

Builds speak HTTPS to the workspaces and to the place of the client's releases. The proxy ends TLS
for those names, with certificates of an authority that only these builds trust. It passes on what
goes to package indexes, and refuses every other host by name.
"""

import base64
import contextlib
import functools
import hashlib
import http.client
import http.server
import io
import os
import re
import select
import socket
import ssl
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trustme

from rehearsal.machine.gate import reach
from rehearsal.machine.indexes import host
from rehearsal.machine.surroundings import LOOPBACK

GUARD = Path(__file__).parent / "guard"
# method, path with query, headers, body -> status, body
Answer = Callable[[str, str, dict[str, str], bytes], tuple[int, bytes]]


class Network:
    """The proxy. `hosts` are those that it answers for itself; `with Network(home) as network`.

    `indexes` are the addresses of package indexes, `allowed` more hosts that builds may reach.
    `gone` cuts every connection, as a failing network does; `refused` are the hosts that were
    asked for in vain, in order.
    """

    def __init__(
        self, home: Path, indexes: Collection[str] = (), allowed: Collection[str] = ()
    ) -> None:
        self.hosts: dict[str, Answer] = {}
        self.indexes = indexes
        self.allowed = {*allowed, *map(host, indexes)}
        self.refused: dict[str, None] = {}
        self.gone = False
        self.authority = trustme.CA()
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.bundle = home / "certificates.pem"
        handler = type("Handler", (_Handler,), {"network": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True

    def __enter__(self) -> "Network":
        paths = ssl.get_default_verify_paths()
        known = os.environ.get("SSL_CERT_FILE") or paths.cafile or paths.openssl_cafile
        trusted = b""
        if known and Path(known).is_file():
            trusted = Path(known).read_bytes() + b"\n"
        self.bundle.write_bytes(trusted + self.authority.cert_pem.bytes())
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self) -> dict[str, str]:
        """The variables that send a build's tools through the proxy and make them trust it."""
        url = f"http://127.0.0.1:{self.server.server_port}"
        schemes = ("HTTP_PROXY", "HTTPS_PROXY", "PIP_PROXY", "http_proxy", "https_proxy")
        proxy = dict.fromkeys(schemes, url)
        local = {"NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
        guard = {"PYTHONPATH": str(GUARD)}
        return proxy | local | guard | dict.fromkeys(names, str(self.bundle))

    def reaches(self, host: str) -> bool:
        """Whether builds may reach a host; notes it if not."""
        if host in self.allowed or host in self.file_hosts:
            return True
        self.refused[host] = None
        return False

    @functools.cached_property
    def file_hosts(self) -> set[str]:
        """The hosts of the files that the indexes list: one page of each index is read for them."""
        return {found for index in self.indexes for found in linked_hosts(index, self)}

    def context(self, host: str) -> ssl.SSLContext:
        """A TLS context with a certificate for a host."""
        if host not in self.contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.authority.issue_cert(host).configure_cert(context)
            self.contexts[host] = context
        return self.contexts[host]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    error_message_format, error_content_type = "%(message)s\n", "text/plain"
    network: Network
    answer: Answer | None = None  # of the host that the client speaks to, after CONNECT

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        self.close_connection = True
        if self.network.gone:
            return
        self.answer = self.network.hosts.get(host)
        if self.answer is None:
            if far := self.reach(host, int(port)):
                self.send_response(200)
                self.end_headers()
                self.tunnel(far)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.network.context(host).wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()

    def reach(self, host: str, port: int) -> socket.socket | None:
        """A connection to a host; None if there is none, and then the client has been told why."""
        host = host.strip("[]")
        if not self.network.reaches(host):
            self.send_error(403, refusal(host))
            return None
        try:
            return reach(host, port)
        except OSError as error:
            self.send_error(502, f"{host} cannot be reached: {error}")
            return None

    def forward(self) -> None:
        """Passes a request on that came without TLS, and the answer back."""
        target = urlsplit(self.path)
        self.close_connection = True
        body = self.body()
        far = self.reach(str(target.hostname), target.port or 80)
        if far is None:
            return
        path = target._replace(scheme="", netloc="").geturl() or "/"
        for name in ("Connection", "Proxy-Connection", "Transfer-Encoding", "Content-Length"):
            del self.headers[name]
        fields = [f"{name}: {value}" for name, value in self.headers.items()]
        fields += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        head = "\r\n".join([f"{self.command} {path} HTTP/1.1", *fields])
        far.sendall(head.encode("latin-1") + body)
        self.tunnel(far)

    def tunnel(self, far: socket.socket) -> None:
        """Passes bytes both ways until one side ends."""
        near = self.connection
        with far, contextlib.suppress(OSError):
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (far if ready is near else near).sendall(data)

    def body(self) -> bytes:
        """The request's body, whole or in chunks, each behind its length."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while length := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def respond(self) -> None:
        if self.answer is None:
            self.forward()
            return
        body = self.body()
        try:
            status, text = self.answer(self.command, self.path, dict(self.headers.items()), body)
        except ConnectionError:  # no network to there
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else text)

    do_GET = do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = respond

    def log_message(self, *_: object) -> None:
        pass


def refusal(host: str) -> str:
    """What a client is told that may not reach a host."""
    return f"{host} is refused: builds reach package indexes only; to let them: --allow-host {host}"


LINK = re.compile(rb'href=["\']?(https?://[^"\'\s>]+)', re.I)


def linked_hosts(index: str, network: Network) -> set[str]:
    """The hosts that an index's page of pip links to; none if there is no such page.

    https://packaging.python.org/en/latest/specifications/simple-repository-api/
    """
    place = urlsplit(index)
    netloc = place.netloc.rpartition("@")[2]
    request = urllib.request.Request(
        place._replace(netloc=netloc, path=f"{place.path.rstrip('/')}/pip/").geturl()
    )
    if place.username:
        pair = f"{unquote(place.username)}:{unquote(place.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    proxies = dict.fromkeys(("http", "https"), network.environment()["https_proxy"])
    trust = ssl.create_default_context(cafile=network.bundle)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=trust)
    )
    try:
        with opener.open(request, timeout=10) as page:
            links = LINK.findall(page.read())
    except (OSError, ValueError):
        return set()
    return {host(link.decode(errors="replace")) for link in links}


RELEASES = "https://github.com/databricks/cli/releases/download"  # unless tools.env says otherwise
PLATFORMS = ("linux_amd64", "linux_arm64")


def releases_host(repository: Path) -> str:
    """The host from which a repository downloads the client."""
    tools = repository / "cicd/tools.env"
    text = tools.read_text(encoding="utf-8") if tools.is_file() else ""
    match = re.search(r"(?m)^DATABRICKS_CLI_BASE_URL=(\S+)", text)
    return str(urlsplit(match[1] if match else RELEASES).hostname)


def releases(client: str) -> Answer:
    """Serves a client, a program's text, as every release's archive, with a fitting SHA256SUMS."""
    content = archive(client)
    checksum = hashlib.sha256(content).hexdigest()

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        name = urlsplit(path).path.rpartition("/")[2]
        if name.endswith(".zip"):
            return 200, content
        if name.endswith("_SHA256SUMS"):
            stem = name.removesuffix("_SHA256SUMS")
            lines = [f"{checksum}  {stem}_{platform}.zip\n" for platform in PLATFORMS]
            return 200, "".join(lines).encode()
        return 404, b"no such release"

    return answer


def archive(client: str) -> bytes:
    """A zip with a program, `databricks`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        entry = zipfile.ZipInfo("databricks")
        entry.external_attr = 0o100755 << 16
        packed.writestr(entry, client)
    return content.getvalue()
