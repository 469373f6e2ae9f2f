"""Somebody who takes mail by SMTP, as far as the tests need it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from socketserver import StreamRequestHandler, ThreadingTCPServer

OK = {
    "AUTH": "235 ok",
    "DATA": "354 go on",
    "QUIT": "221 bye",
    "EHLO": "250-here\r\n250 AUTH PLAIN",
}


class MailServer(ThreadingTCPServer):
    """Keeps what it takes in `mails`; `replies` has other answers, by the word asked with.

    With `is_silent` it takes the connection and says nothing.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Conversation)
        self.mails, self.replies, self.is_silent = [], {}, False
        self.end = threading.Event()

    @property
    def settings(self) -> dict[str, object]:
        """Django's settings for it."""
        backend = "django.core.mail.backends.smtp.EmailBackend"
        port = self.server_address[1]
        return {"EMAIL_BACKEND": backend, "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": port}


class Conversation(StreamRequestHandler):
    server: MailServer

    def handle(self):
        if self.server.is_silent:
            self.server.end.wait(60)
            return
        self._say("220 here")
        for line in self.rfile:
            word = line.decode().strip().upper()[:4]
            reply = self.server.replies.get(word) or OK.get(word, "250 ok")
            self._say(reply)
            if word == "QUIT":
                return
            if word == "DATA" and reply.startswith("354"):
                self._take_mail()
                self._say("250 taken")

    def _take_mail(self):
        lines = iter(self.rfile.readline, b".\r\n")
        self.server.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))

    def _say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


@contextmanager
def taking_mail() -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.end.set()
        server.shutdown()
        thread.join()
