"""The builds' way to the outside: a proxy on loopback that answers for some hosts itself.

Builds speak HTTPS to the workspaces and to the place of the client's releases. The proxy ends TLS
for those names, with certificates of an authority that only these builds trust, and passes
everything else on, so that package registries are reached as ever.
"""

import base64
import contextlib
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
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trustme

from rehearsal.machine.surroundings import LOOPBACK

# method, path with query, headers, body -> status, body
Answer = Callable[[str, str, dict[str, str], bytes], tuple[int, bytes]]


class Network:
    """The proxy. `hosts` are those that it answers for itself; `with Network(home) as network`.

    `gone` cuts every connection, as a failing network does.
    """

    def __init__(self, home: Path) -> None:
        self.hosts: dict[str, Answer] = {}
        self.gone = False
        self.authority = trustme.CA()
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.bundle = home / "certificates.pem"
        network = self

        class Handler(_Handler):
            def do_CONNECT(self) -> None:
                self.connect(network)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
        proxy = {"HTTPS_PROXY": url, "https_proxy": url}
        local = {"NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
        return proxy | local | dict.fromkeys(names, str(self.bundle))

    def context(self, host: str) -> ssl.SSLContext:
        """A TLS context with a certificate for a host."""
        if host not in self.contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.authority.issue_cert(host).configure_cert(context)
            self.contexts[host] = context
        return self.contexts[host]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def connect(self, network: Network) -> None:
        host, _, port = self.path.rpartition(":")
        answer = network.hosts.get(host)
        if network.gone:
            self.close_connection = True
            return
        if answer is None:
            self.tunnel(host, int(port))
            return
        self.send_response(200)
        self.end_headers()
        self.answer = answer
        self.connection = network.context(host).wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()

    def tunnel(self, host: str, port: int) -> None:
        """Passes bytes both ways until one side ends."""
        self.close_connection = True
        try:
            far = connection(host, port)
        except OSError:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
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


def connection(host: str, port: int) -> socket.socket:
    """A connection to a host, through the user's own proxy if there is one. Raises OSError."""
    proxy = urlsplit(urllib.request.getproxies().get("https", ""))
    if not proxy.hostname or urllib.request.proxy_bypass(host):
        return socket.create_connection((host, port), timeout=30)
    far = socket.create_connection((proxy.hostname, proxy.port or 80), timeout=30)
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    far.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = http.client.HTTPResponse(far, method="CONNECT")
    answer.begin()
    if answer.status != 200:
        far.close()
        raise OSError(f"the proxy {proxy.hostname} answers {answer.status}")
    return far


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
