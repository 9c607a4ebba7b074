"""One request over TLS to an address, under the name that the certificate bears."""

import http.client
import socket


class _Named(http.client.HTTPSConnection):
    def __init__(self, address, port, server_name, context):
        super().__init__(server_name, port, timeout=5, context=context)
        self._address, self._tls = address, context

    def connect(self):
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def get(address, port, path, *, context, server_name):
    """(status, body). Raises OSError."""
    connection = _Named(address, port, server_name, context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
