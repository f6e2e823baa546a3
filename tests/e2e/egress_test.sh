#!/bin/bash
# needs: vm
# timeout: 900
# What a cell reaches and what it does not, judged by curl and apt inside it and by a server of this
# machine; then the way in to a server of the cell, judged by curl out here. The servers listen on
# 127.0.0.2: for the cell that is its own loopback, so only the gateway can mean this one.
. "$(dirname "$0")/../support/lib.sh"

# Answers with what it was asked and writes it down; files come from the folder repo.
cat >"$scratch/server.py" <<'PY'
import http.server, os, ssl, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = os.path.join(sys.argv[1], "repo", os.path.basename(self.path))
        found = self.path.startswith("/repo/") and os.path.isfile(path)
        text = open(path, "rb").read() if found else f"{self.command} {self.path} {body!r}\n{self.headers}".encode()
        self.send_response(302 if self.path == "/elsewhere" else 200 if found or not self.path.startswith("/repo/") else 404)
        if self.path == "/elsewhere": self.send_header("location", "http://169.254.169.254/secret")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(text)
    do_GET = do_HEAD = do_POST = answer
    def log_message(self, form, *words):
        with open(os.path.join(sys.argv[1], "requests"), "a") as log: log.write(form % words + "\n")
plain = http.server.ThreadingHTTPServer(("127.0.0.2", 0), Handler)
secure = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(sys.argv[1], "cert.pem"))
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
print(plain.server_address[1], secure.server_address[1], flush=True)
plain.serve_forever()
PY
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$scratch/key.pem" \
    -out "$scratch/cert.pem" 2>/dev/null
cat "$scratch/key.pem" >>"$scratch/cert.pem"

# A package and its index, made here.
mkdir -p "$scratch/repo" "$scratch/package/DEBIAN" "$scratch/package/usr/share/peacrab-test"
printf 'Package: peacrab-test\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: test\n' \
    >"$scratch/package/DEBIAN/control"
echo came-by-apt >"$scratch/package/usr/share/peacrab-test/word"
dpkg-deb --root-owner-group -b "$scratch/package" "$scratch/repo/peacrab-test.deb" >/dev/null
{
    cat "$scratch/package/DEBIAN/control"
    printf 'Filename: ./peacrab-test.deb\nSize: %s\nSHA256: %s\n' "$(stat -c %s "$scratch/repo/peacrab-test.deb")" \
        "$(sha256sum "$scratch/repo/peacrab-test.deb" | cut -d' ' -f1)"
} >"$scratch/repo/Packages"

python3 "$scratch/server.py" "$scratch" >"$scratch/ports" 2>/dev/null &
on_exit kill $!
until_true 10 test -s "$scratch/ports"
read -r plain secure <"$scratch/ports"
web=http://127.0.0.2:$plain
asked() { grep -qF "$1" "$scratch/requests" 2>/dev/null; }

start_obedient_model
printf 'egress: []\n' >>"$XDG_CONFIG_HOME/peacrab/config.yaml"  # or the first start allows mirrors
"$peacrab" up 2>"$scratch/up" || fail "no machine: $(<"$scratch/up")"

# --- closed
said=$(in_cell "curl -sS --max-time 20 $web/closed || true; env | grep -ic '_proxy=http://127.0.0.1:3128'")
contains "$said" "nothing outside is allowed" "without rules"
contains "$said" "peacrab allow $web GET HEAD" "the command is named"
said=$(in_cell "curl -sS --noproxy '*' --max-time 5 $web/direct 2>&1; getent hosts localhost.example; curl -sS --noproxy '*' --max-time 5 http://192.0.2.1/ 2>&1; true")
lacks "$said" "GET /direct" "without the proxy"
if asked /closed || asked /direct; then fail "a request arrived: $(<"$scratch/requests")"; fi

# --- plain HTTP by host and method
"$peacrab" allow "$web" GET HEAD >/dev/null
said=$(in_cell "curl -sS --max-time 20 $web/a")
contains "$said" "peacrab allow $web GET HEAD private" "an address that is not public wants the word"
"$peacrab" allow "$web" GET HEAD private >/dev/null
said=$(in_cell "curl -sS --max-time 20 -H 'Authorization: Bearer x' -b c=d $web/a; curl -sSI --max-time 20 $web/b")
contains "$said" "GET /a" "GET is allowed"
contains "$said" "200 OK" "HEAD is allowed"
lacks "$said" "Bearer" "credentials stay out of plain HTTP"
said=$(in_cell "curl -sS --max-time 20 -d secret $web/upload")
contains "$said" "peacrab allow $web POST" "POST is refused with its command"
if asked /upload; then fail "the POST arrived"; fi
said=$(in_cell "curl -sSL --max-time 20 $web/elsewhere")
contains "$said" "may not GET at http://169.254.169.254:80" "a redirect is a new request"

# --- tunnels
said=$(in_cell "curl -sS -p --max-time 20 $web/tunnel 2>&1; true")
contains "$said" "403" "a place for plain HTTP is no tunnel"
"$peacrab" allow "localhost:$secure" private >/dev/null
said=$(in_cell "curl -sSk --noproxy '' --max-time 20 https://localhost:$secure/tls 2>&1; true")
contains "$said" "GET /tls" "TLS goes through the tunnel"
said=$(in_cell "curl -sSk --noproxy '' --max-time 20 --connect-to other.example:$secure:localhost:$secure https://other.example:$secure/fronted 2>&1; true")
lacks "$said" "GET /fronted" "TLS that asks for another server"
if asked /fronted; then fail "a fronted request arrived"; fi

# --- apt
said=$(in_cell "printf 'deb [trusted=yes] $web/repo ./\n' >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*
apt-get -q update 2>&1 && apt-get -qy install peacrab-test 2>&1 && cat /usr/share/peacrab-test/word" timeout=300)
contains "$said" "came-by-apt" "apt installs through it"

# --- taken away: also what is open
"$peacrab" allow --remove "$web" >/dev/null
said=$(in_cell "curl -sS --max-time 20 $web/gone")
contains "$said" "peacrab allow" "a rule that was removed"
if asked /gone; then fail "it arrived after its rule was removed"; fi
# Beside the number that the connection has in the guest's audit.
log=$(sed -E 's/main #[1-9][0-9]*:/main #N:/' "$XDG_STATE_HOME/peacrab/default/gateway.log")
contains "$log" "main #N: GET 127.0.0.2:$plain" "what went out is in the log"
contains "$log" "main #N: the agent" "what was refused is in the log"

# --- the way in
in_cell 'cd / && exec python3 -c "
import socket
s = socket.create_server((\"127.0.0.1\", 8000))
while True:
    c, _ = s.accept(); c.recv(65536)
    c.sendall(b\"HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\nserved-by-the-cell\"); c.close()"' \
    timeout=300 >"$scratch/server" 2>&1 &
"$peacrab" port main 8000 >"$scratch/url" 2>/dev/null &
port=$!
until_true 10 test -s "$scratch/url"
url=$(<"$scratch/url")
name=${url#http://} name=${name%%:*} listens=${url#http://*:} listens=${listens%%/*}
[[ $name =~ ^main-8000-[0-9a-f]{8}\.localhost$ ]] || fail "the name: $name"
body() { curl -sS --max-time 30 "$@" 2>&1; }
reach() { [[ $(body -L -c "$scratch/jar" -b "$scratch/jar" "${url/\?/f?}") == served-by-the-cell ]]; }
until_true 30 reach
equal served-by-the-cell "$(body -b "$scratch/jar" "http://$name:$listens/f")" "with the cookie"
contains "$(body "http://$name:$listens/f")" "token is missing" "without the token"
for other in evil.example 127.0.0.1 localhost main-8000.localhost; do
    said=$(body -H "Host: $other:$listens" "$url")
    contains "$said" "this port has another name" "under the name $other"
    lacks "$said" "$name" "nobody is told the name"
done
contains "$(body -b "$scratch/jar" -H "Origin: http://$name:1" "http://$name:$listens/f")" "another page asks" "from another origin"
contains "$("$peacrab" ps)" "8000 of main" "ps lists it"
kill $port
wait $port || true
closed() { ! curl -s --max-time 5 "http://127.0.0.1:$listens/" >/dev/null; }
until_true 10 closed
raw=$("$peacrab" port --raw --detach main 8000 2>/dev/null)
equal served-by-the-cell "$(body "http://$raw/f")" "raw has no gate"
"$peacrab" port --close main 8000
closed_raw() { ! curl -s --max-time 5 "http://$raw/" >/dev/null; }
until_true 10 closed_raw
