"""nginx with deploy/nginx/kvb-admin.conf, before two applications that tell what they were sent."""

import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingUnixStreamServer

from deploy_ops.release.host.shares import SHARES
from tests.clusters import free_port
from tests.nginx import nginx_config
from tests.programs import find_program
from tests.project.runner import REPOSITORY

CONF = REPOSITORY / "deploy" / "nginx" / "kvb-admin.conf"
NAME = "kvb.example.org"


class Application(BaseHTTPRequestHandler):
    """Answers with what it was asked, and who it is."""

    def do_GET(self):  # pylint: disable=invalid-name
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"colour": self.server.colour, "path": self.path, "headers": headers}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Site:
    """nginx with the shipped file, whose paths and ports are a test's."""

    def __init__(self, directory):
        self.directory, self.sockets = directory, directory / "run"
        self.kept = http.client.HTTPConnection(NAME, timeout=10)
        self.sockets.mkdir()
        self.http, self.https, self.local = free_port(), free_port(), free_port()
        self._make_certificate()
        (directory / "static").mkdir()
        (directory / "static" / "style.abc.css").write_text("a {}")
        (directory / "wartung.html").write_text((CONF.parent / "wartung.html").read_text())
        self.apps = self.start_applications()
        self.point("current", "blue.sock")
        for name in ("canary", *(f"canary-{share}" for share in SHARES)):
            self.point(name, "current.sock")

    def start_applications(self):
        """Those behind the sockets, by their colours."""
        apps = {}
        for colour in ("blue", "green"):
            app = ThreadingUnixStreamServer(str(self.sockets / f"{colour}.sock"), Application)
            app.colour, app.daemon_threads = colour, True
            threading.Thread(target=app.serve_forever, daemon=True).start()
            apps[colour] = app
        return apps

    def _make_certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
             "-keyout", self.directory / "privkey.pem", "-out", self.directory / "fullchain.pem"],
            check=True, capture_output=True,
        )  # fmt: skip

    def point(self, name, target):
        path = self.sockets / f"{name}.sock"
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def write(self):
        text = CONF.read_text(encoding="utf-8")
        for there, here in {
            f"/etc/letsencrypt/live/{NAME}": str(self.directory),
            "/run/kvb-admin": str(self.sockets),
            "/srv/kvb-admin/static": f"{self.directory}/static",
            "/etc/nginx/kvb-admin": str(self.directory),
            "/var/log/nginx": str(self.directory),
            "/var/www/html": f"{self.directory}/acme",
            "listen 80": f"listen 127.0.0.1:{self.http}",
            "listen 443": f"listen 127.0.0.1:{self.https}",
            "127.0.0.1:8000": f"127.0.0.1:{self.local}",
        }.items():
            assert there in text
            text = text.replace(there, here)
        config = self.directory / "nginx.conf"
        config.write_text(nginx_config(self.directory, text))
        return config

    def protocol(self, **limits):
        with self.tls(**limits) as connection:
            return connection.version()

    def tls(self, name=NAME, **limits):
        context = ssl.create_default_context(cafile=self.directory / "fullchain.pem")
        for limit, value in limits.items():
            setattr(context, limit, value)
        plain = socket.create_connection(("127.0.0.1", self.https), 10)
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except OSError:
            plain.close()
            raise

    def get(self, path="/", method="GET", **headers):
        connection = http.client.HTTPConnection(NAME, timeout=10)
        connection.sock = self.tls()
        connection.request(
            method, path, headers={name.replace("_", "-"): v for name, v in headers.items()}
        )
        response = connection.getresponse()
        answer = response.status, response.headers, response.read().decode()
        connection.close()
        return answer

    def plain(self, port, path="/", host=NAME, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host, **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def colour(self, cookie=""):
        """Who answers, on a connection that is kept: a handshake takes longer than an answer."""
        if self.kept.sock is None:  # at first, and after as many requests as nginx lets one send
            self.kept.sock = self.tls()
        self.kept.request("GET", "/", headers={"Cookie": cookie})
        return json.loads(self.kept.getresponse().read())["colour"]


@contextmanager
def serving(made):
    """nginx, until the block ends; and the applications of the site end too."""
    program, config = find_program("nginx"), made.write()
    subprocess.run([program, "-t", "-c", config, "-p", made.directory], check=True)
    process = subprocess.Popen([program, "-c", config, "-p", made.directory])
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                made.get()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
        yield made
    finally:
        made.kept.close()
        process.terminate()
        process.wait(10)
        for app in made.apps.values():
            app.shutdown()
            app.server_close()
