"""Talks to moe-lsp-server as an editor does: initialize, a text, its diagnostics.

    lsp.py SERVER TEXT.mlir...

Prints the diagnostics of each text as `NAME:LINE:COLUMN: message`, counted from 1.
"""

import json
import pathlib
import subprocess
import sys


class Editor:
    def __init__(self, server):
        self.process = subprocess.Popen([server], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.requests = 0

    def send(self, method, params, is_request=False):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if is_request:
            self.requests += 1
            message["id"] = self.requests
        body = json.dumps(message).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body))
        self.process.stdin.write(body)
        self.process.stdin.flush()

    def receive(self):
        length = 0
        while True:
            line = self.process.stdout.readline()
            if not line:
                sys.exit("the server ended too early")
            if not line.strip():
                break
            name, value = line.split(b":")
            if name == b"Content-Length":
                length = int(value)
        return json.loads(self.process.stdout.read(length))

    def ask(self, method, params):
        self.send(method, params, is_request=True)
        while True:
            message = self.receive()
            if message.get("id") == self.requests:
                return message["result"]

    def wait_for(self, method):
        while True:
            message = self.receive()
            if message.get("method") == method:
                return message["params"]


def main():
    editor = Editor(sys.argv[1])
    answer = editor.ask("initialize", {"processId": None, "rootUri": None,
                                       "capabilities": {}})
    print("initialized:", ", ".join(sorted(
        name for name, value in answer["capabilities"].items() if value)))
    editor.send("initialized", {})
    for path in map(pathlib.Path, sys.argv[2:]):
        editor.send("textDocument/didOpen", {"textDocument": {
            "uri": path.resolve().as_uri(), "languageId": "mlir", "version": 1,
            "text": path.read_text()}})
        found = editor.wait_for("textDocument/publishDiagnostics")
        print(f"{path.name}: {len(found['diagnostics'])} diagnostics")
        for diagnostic in found["diagnostics"]:
            start = diagnostic["range"]["start"]
            print(f"{path.name}:{start['line'] + 1}:{start['character'] + 1}: "
                  f"{diagnostic['message']}")
    editor.ask("shutdown", None)
    editor.send("exit", None)
    print("status:", editor.process.wait(timeout=30))


main()
