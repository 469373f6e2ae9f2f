"""People with kept connections, who never stop asking."""

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

VISITORS = 4
PAUSE_SECONDS = 0.005


@dataclass
class Visitors:
    """They send GET and POST in turn from the beginning of the block to its end.

    `answers` has for each the method and the status, or the error; `seconds` how long each took,
    `texts` what was in them.
    """

    port: int
    path: str
    headers: Mapping[str, str]
    answers: list[tuple[str, object]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Visitors":
        self.threads = [threading.Thread(target=self._visit) for _ in range(VISITORS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _visit(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.stop.wait(PAUSE_SECONDS):
            for method in ("GET", "POST"):
                began = time.monotonic()
                try:
                    connection.request(method, self.path, headers=dict(self.headers))
                    response = connection.getresponse()
                    self.texts.append(response.read(200).decode(errors="replace"))
                    response.read()
                    self.answers.append((method, response.status))
                except (OSError, http.client.HTTPException) as error:
                    self.answers.append((method, repr(error)))
                    connection.close()
                self.seconds.append(time.monotonic() - began)
        connection.close()
