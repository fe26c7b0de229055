"""What bcrypt costs at connect and at reload, on the real server.

Run: python3 docs/bcrypt_cost.py path/to/tenantry
For each cost: one tenant with 100 password users on a server of its own, the
time from TCP connect to the first PONG, and the time that a reload keeps a
newcomer waiting while all 100 are connected.
"""

import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

USERS = 100


def connect(port: int, who: dict) -> tuple[socket.socket, float]:
    start = time.perf_counter()
    conn = socket.create_connection(("127.0.0.1", port))
    conn.recv(4096)
    login = {"user": who["login"], "pass": who["password"], "verbose": False, "pedantic": False}
    conn.sendall(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
    answer = conn.recv(4096)
    assert b"PONG" in answer, answer
    return conn, (time.perf_counter() - start) * 1000


def measure(tenantry: str, cost: int, port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        users = "".join(f'[[tenant.user]]\nname = "u{i}"\nauth = "password"\n' for i in range(USERS))
        registry = pathlib.Path(folder, "tenants.toml")
        text = (
            f'version = 1\n[server]\nclient = "127.0.0.1:{port}"\n[auth]\nbcrypt_cost = {cost}\n'
            f'[[tenant]]\nname = "T"\n[tenant.limits]\nconnections = 200\n{users}'
        )
        registry.write_text(text)
        run = lambda *args: subprocess.run([tenantry, *args], cwd=folder, check=True, capture_output=True).stdout
        run("up")
        try:
            creds = json.loads(run("creds", "T", "--as", "json"))
            opened = [connect(port, who) for who in creds]
            registry.write_text(text + '[[tenant]]\nname = "MORE"\n[[tenant.user]]\nname = "app"\n')
            run("render")
            state = json.loads(pathlib.Path(folder, ".tenantry/run/state.json").read_text())
            subprocess.run(["kill", "-HUP", str(state["pid"])], check=True)
            time.sleep(0.05)  # so that the reload has begun; what is measured is the wait from here
            waited = connect(port, creds[0])[1]
            print(f"| {cost} | {statistics.median(ms for _, ms in opened):.1f} ms | {waited:.0f} ms |")
        finally:
            run("down")


print(f"| bcrypt cost | connect | a newcomer's wait during a reload, {USERS} connected |\n|---:|---:|---:|")
for cost in (4, 8, 10, 11):
    measure(str(pathlib.Path(sys.argv[1]).resolve()), cost, 20000 + cost)
