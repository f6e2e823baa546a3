#!/usr/bin/env python3
"""package_server.py NPM_FOLDER: a package index for pip and a registry for npm, with one small package
each, on an address of this machine's loopback that a cell's proxy is asked for; Python's library only.

  /npm.tgz      the npm of this machine, for a cell that has only node
  /forty-two    registry metadata, its package gives 42
  /simple/hi/   index of the Python package hi, whose x is 42
Prints its address; ends by itself after two hours.
"""
import base64
import hashlib
import http.server
import io
import json
import os
import sys
import tarfile
import threading
import zipfile

HOST = "127.0.0.2"  # in no list of exceptions from the proxy


def tarball(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo("package/" + name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def npm_itself(folder):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname="npm")
    return data.getvalue()


def wheel():
    files = {"hi/__init__.py": "x = 41 + 1\n",
             "hi-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: hi\nVersion: 1\n",
             "hi-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = "".join(f"{name},,\n" for name in files) + "hi-1.dist-info/RECORD,,\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in {**files, "hi-1.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return data.getvalue()


def metadata(address, package):
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    version = {"name": "forty-two", "version": "1.0.0", "main": "index.js",
               "dist": {"tarball": address + "/forty-two-1.0.0.tgz", "integrity": "sha512-" + digest}}
    return json.dumps({"name": "forty-two", "dist-tags": {"latest": "1.0.0"},
                       "versions": {"1.0.0": version}}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pages = {}

    def do_GET(self):
        kind, body = self.pages.get(self.path, (None, b"no such page\n"))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *ignored):
        pass


def main():
    server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
    address = f"http://{HOST}:{server.server_address[1]}"
    package = tarball({"package.json": '{"name":"forty-two","version":"1.0.0","main":"index.js"}',
                       "index.js": "module.exports = 42;\n"})
    binary, wheel_name = "application/octet-stream", "hi-1-py3-none-any.whl"
    Handler.pages = {
        "/forty-two": ("application/json", metadata(address, package)),
        "/forty-two-1.0.0.tgz": (binary, package),
        "/simple/hi/": ("text/html", f'<a href="/{wheel_name}">{wheel_name}</a>'.encode()),
        f"/{wheel_name}": (binary, wheel()),
    }
    if os.path.isdir(sys.argv[1]):
        Handler.pages["/npm.tgz"] = (binary, npm_itself(sys.argv[1]))
    timer = threading.Timer(7200, lambda: os._exit(0))
    timer.daemon = True
    timer.start()
    print(address, flush=True)
    server.serve_forever()


main()
